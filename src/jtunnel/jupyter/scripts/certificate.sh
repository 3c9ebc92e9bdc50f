# Says the certificates (never the keys) in the files that a running server was told to use. Expects $pid.

# The words of its command line, one a line; one that has line breaks is no path of ours.
words() {
    if [ -r "$proc/$pid/cmdline" ]; then
        tr '\n\0' ' \n' <"$proc/$pid/cmdline"
    else
        ps -ww -o command= -p "$pid" | tr ' ' '\n'
    fi
}

# What decides where it looks for its config: its own environment, where that can be read, and its Python.
adopt_environment() {
    root=$(readlink "$proc/$pid/cwd" 2>/dev/null) || root=$HOME
    interpreter=$(words | sed -n 1p)
    [ -r "$proc/$pid/environ" ] || return 0
    for e_name in JUPYTER_CONFIG_DIR JUPYTER_CONFIG_PATH XDG_CONFIG_HOME HOME; do
        e_value=$(tr '\n\0' ' \n' <"$proc/$pid/environ" | sed -n "s/^$e_name=//p" | sed -n 1p)
        [ -z "$e_value" ] || eval "$e_name=\$e_value"
    done
}

# The paths it was told, the likeliest first: an argument beats all files.
certificate_files() {
    words | sed -n -e 's/^--\([A-Za-z]*\.\)\{0,1\}certfile=//p' -e '/^--\([A-Za-z]*\.\)\{0,1\}certfile$/{n;p;}'
    config_dirs | while IFS= read -r c_dir; do
        for c_file in "$c_dir"/jupyter*config.json "$c_dir"/jupyter*config.d/*.json; do
            [ -f "$c_file" ] || continue
            sed -n 's/.*"certfile": *"\([^"]*\)".*/\1/p' "$c_file" 2>/dev/null
            say # sed ends no line that has no end
        done
        for c_file in "$c_dir"/jupyter*config.py; do
            [ -f "$c_file" ] || continue
            sed -n -e '/^[^#]*\.certfile *=/{' -e "y/'/\"/" -e 's/.*= *[^"]*"\([^"]*\)".*/\1/p' -e '}' "$c_file" 2>/dev/null
            say
        done
    done
}

main() {
    process_facts "$pid" && [ "$p_uid" = "$uid" ] || return 0
    adopt_environment
    certificate_files | while IFS= read -r c_path; do
        case $c_path in
        '') continue ;;
        '~/'*) c_path=$HOME/${c_path#'~/'} ;;
        /*) ;;
        *) c_path=$root/$c_path ;;
        esac
        [ -f "$c_path" ] || continue
        # A key may stand in the same file.
        c_text=$(sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' "$c_path" 2>/dev/null | head -c 65536 | hex)
        [ -z "$c_text" ] || say certificate "$c_text" "$c_path"
    done
}
