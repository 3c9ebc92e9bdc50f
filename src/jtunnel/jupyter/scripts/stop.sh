# What the end of a Jupyter server leaves besides.

before_end() {
    look_at "$pid"
    e_dirs=$(runtime_dirs "$e_dirs")
}

# A server that was killed leaves its runtime file. Another node that shares this home may have written one for
# the same number since: only what names our $needle is removed.
after_end() {
    say "$e_dirs" | while IFS= read -r e_dir; do
        for e_kind in jpserver nbserver; do
            e_file=$e_dir/$e_kind-$pid
            [ -n "$needle" ] && [ -f "$e_file.json" ] && grep -q -s -F -e "$needle" "$e_file.json" && rm -f "$e_file.json" "$e_file-open.html"
        done
    done
}
