"""What others hear of tunnels: the record of the past, the user's hooks, the desktop. Nothing comes back."""
