"""What people look at: status, history and bars as text, and a screen that is repainted."""
