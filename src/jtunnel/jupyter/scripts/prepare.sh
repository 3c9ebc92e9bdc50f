# What a start of Jupyter needs to know besides.

# say_special: the directory of a Jupyter config file that sets tornado_settings.
say_special() {
    config_dirs | while IFS= read -r s_dir; do
        grep -q -s -e '^[^#]*tornado_settings' "$s_dir"/jupyter*config.py "$s_dir"/jupyter*config.json \
            "$s_dir"/jupyter*config.d/*.json && say tornado_settings "$s_dir" && break
    done
    return 0
}
