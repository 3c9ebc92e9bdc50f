# Removes the environment that prepare.sh kept for a start that does not come. Expects $environment_name.

main() {
    choose_run_dir
    rm -f "$run/$environment_name"
}
