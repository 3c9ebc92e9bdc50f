# What a start of Jupyter needs besides: settings that nothing of the user's outranks, and closed runtime files.

# keep_settings FILE PART…: one config file that says the token, whatever the user's says. It holds no secret.
keep_settings() {
    k_file=$1.py
    shift
    say '# Written by jtunnel for the servers that it starts.' '
import os
token = os.environ.get("JUPYTER_TOKEN", "")
if "JUPYTER_TOKEN_FILE" in os.environ:
    with open(os.environ["JUPYTER_TOKEN_FILE"]) as file:
        token = file.read()
if token:
    for part in ('"$*"'):
        part.token = token' >"$k_file.$$" && mv -f "$k_file.$$" "$k_file"
}

# foreign_runtime_dir STATE UID: one of those that Jupyter may take is not ours.
foreign_runtime_dir() (
    state=$1 uid=$2
    runtime_dirs | while IFS= read -r b_dir; do
        [ -O "$b_dir" ] || say "$b_dir"
    done | grep -q .
)

# before_launch STATE UID: config files outrank the environment, and the user's may say token = ''. Those here come
# before them (since jupyter_core 4.7). Runtime files hold the token, and classic notebook makes its own readable
# for all: only their directory keeps others out.
before_launch() {
    (
        state=$1 uid=$2
        mkdir -p "$state/config" && cd "$state/config" || exit
        keep_settings jupyter_server_config c.ServerApp, c.IdentityProvider, c.PasswordIdentityProvider
        keep_settings jupyter_lab_config c.ServerApp, c.IdentityProvider, c.PasswordIdentityProvider
        keep_settings jupyter_notebook_config c.NotebookApp,
        keep_settings jupyter_nbclassic_config c.NotebookApp,
        runtime_dirs | while IFS= read -r b_dir; do
            [ ! -O "$b_dir" ] || chmod go-rwx "$b_dir"
        done
    )
    # One that is another user's, as a directory for all below /tmp may be, would show him the token: Jupyter writes
    # a page with it there that the umask alone protects.
    if foreign_runtime_dir "$1" "$2"; then
        (umask 077 && mkdir -p "$1/runtime")
        export "JUPYTER_RUNTIME_DIR=$1/runtime"
    fi
    export "JUPYTER_CONFIG_PATH=$1/config${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}"
}
