# A part of a server's log: from $position (INODE.OFFSET.…) on, or with '' its last $lines lines; at most
# $most bytes. Expects $pid, that of a server that we did not start, or ''.

size_of() {
    wc -c <"$1" | tr -d ' '
}

# is_continued FILE: it is the one that was read up to $l_offset.
is_continued() {
    [ -r "$1" ] && l_size=$(size_of "$1") && [ "$l_size" -ge "$l_offset" ] &&
        ls -idL "$1" | { read -r i_inode _ && [ "$i_inode" = "${position%%.*}" ]; }
}

# choose_start: sets $l_offset; the log before a new start, which launch.sh keeps, is read to its end.
choose_start() {
    if [ -z "$position" ]; then
        l_offset=$((l_size > most ? l_size - most : 0))
        return
    fi
    l_offset=${position#*.} l_offset=${l_offset%%.*}
    is_continued "$l_path" && return
    if [ -z "$pid" ] && is_continued "$l_path.1" && [ "$l_size" -gt "$l_offset" ]; then
        l_path=$l_path.1
        say last
        return
    fi
    say anew
    l_offset=0 l_size=$(size_of "$l_path")
}

main() {
    l_path=$log
    if [ -n "$pid" ]; then
        log_of "$pid" >/dev/null || return 0
        say path "$o_name"
        l_path=$o_path
    else
        say path "$log"
    fi
    [ -r "$l_path" ] || return 0
    l_size=$(size_of "$l_path")
    choose_start
    l_count=$((l_size - l_offset))
    [ "$l_count" -le "$most" ] || l_count=$most
    l_inode=$(ls -idL "$l_path" | { read -r i_inode _ && say "$i_inode"; })
    say from "$l_inode" "$l_offset" "$l_count"
    say head "$(head -c 256 "$l_path" | hex)"
    [ "$l_count" -gt 0 ] || return 0
    say text "$(tail -c "+$((l_offset + 1))" "$l_path" | head -c "$l_count" |
        if [ -n "$position" ]; then cat; else tail -n "$((lines + 1))"; fi | hex)"
}
