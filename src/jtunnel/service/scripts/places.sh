# Where Python environments and programs are kept, by whatever made them; nothing of theirs is run.

# absolute: the paths on standard input as a shell or a config file writes them.
absolute() {
    sed -e "s|^~/|$(escaped "$HOME")/|" -e "s|\${\{0,1\}HOME}\{0,1\}|$(escaped "$HOME")|g" \
        -e "s|\${\{0,1\}USER}\{0,1\}|$(escaped "$(id -un)")|g"
}

escaped() {
    say "$1" | sed 's/[&|\\]/\\&/g'
}

# rc_words: what in start-up files may be a path of a conda: that between quotes, and single words.
rc_words() {
    for w_file in "$HOME/.bashrc" "$HOME/.bash_profile" "$HOME/.bash_login" "$HOME/.profile" "$HOME/.zshrc" \
        "$HOME/.zprofile" "$HOME/.zshenv" "$HOME/.tcshrc" "$HOME/.cshrc" "$HOME/.login" "$HOME/.kshrc" \
        "${XDG_CONFIG_HOME:-$HOME/.config}/fish/config.fish" \
        "${XDG_CONFIG_HOME:-$HOME/.config}/fish/conf.d"/*.fish; do
        [ -f "$w_file" ] && [ -r "$w_file" ] || continue
        w_lines=$(grep -v '^[[:space:]]*#' "$w_file" | grep -i -e conda -e mamba -e forge)
        say "$w_lines" | tr "\"'" '\n\n'
        say "$w_lines" | tr "\"' \t:;=(),\`" '\n\n\n\n\n\n\n\n\n\n\n'
    done | absolute
}

# usual_roots: where installers put a conda unless told otherwise, one a line.
usual_roots() {
    for r_dir in "$HOME" "$HOME/opt" "$HOME/.local" "$HOME/.local/share" "$HOME/software" /opt /usr/local \
        /usr/local/opt; do
        for r_name in miniforge3 mambaforge miniconda3 anaconda3 micromamba mamba conda miniforge miniconda \
            anaconda miniforge-pypy3 anaconda2 miniconda2; do
            say "$r_dir/$r_name"
        done
    done
}

# conda_roots: where a conda, mamba or micromamba may be installed, the likeliest first, one a line; those that exist.
conda_roots() {
    {
        say "$CONDA_EXE"
        say "$MAMBA_ROOT_PREFIX"
        say "$MAMBA_EXE"
        say "${CONDA_PREFIX%/envs/*}"
        say "$PATH" | tr : '\n' | grep '/\(conda\)\{0,1\}bin/*$'
        rc_words
        usual_roots
        say "$HOME/.conda"
        say "$HOME/.mamba"
        say /opt/homebrew/Caskroom/miniforge/base
        say /opt/tljh/user
    } | sed -e 's|/*$||' -e 's|/etc/profile\.d/[^/]*$||' -e 's|/\(conda\)\{0,1\}bin/[^/]*$||' \
        -e 's|/\(conda\)\{0,1\}bin$||' | grep '^/' | once | while IFS= read -r r_root; do
        [ ! -d "$r_root/conda-meta" ] && [ ! -d "$r_root/envs" ] || say "$r_root"
    done
}

once() {
    awk '!seen[$0]++'
}

# conda_directories: those that hold environments, one a line, in the order in which a name is looked for.
conda_directories() {
    {
        say "$CONDA_ENVS_PATH" | tr : '\n'
        say "$CONDA_ENVS_DIRS" | tr : '\n'
        for d_file in "$CONDARC" "$HOME/.condarc" "$HOME/.conda/.condarc" \
            "${XDG_CONFIG_HOME:-$HOME/.config}/conda/.condarc" "$HOME/.mambarc" /etc/conda/.condarc \
            /etc/conda/condarc /etc/conda/condarc.d/*.yml; do
            [ ! -f "$d_file" ] || sed -n '/^envs_\(dirs\|path\):/,/^[^ #-]/p' "$d_file" 2>/dev/null |
                sed -e '1!{/^[^ #-]/d;}' -e 's/^envs_[a-z]*: *//' -e 's/[[:space:]]#.*//' | tr ',[]' '\n\n\n' |
                sed -e 's/^ *\(- *\)\{0,1\}//' -e 's/ *$//' -e "s/^[\"']//" -e "s/[\"']\$//"
        done
        conda_roots | sed 's|$|/envs|'
    } | absolute | sed 's|/*$||' | grep '^/' | once
}

# environments: those that conda has noted, one a line.
environments() {
    [ ! -f "$HOME/.conda/environments.txt" ] || tr -d '\r' 2>/dev/null <"$HOME/.conda/environments.txt"
}

# conda_prefixes: every environment that can be seen, one a line.
conda_prefixes() {
    {
        conda_roots
        conda_directories | while IFS= read -r p_dir; do
            for p_prefix in "$p_dir"/*; do say "$p_prefix"; done
        done
        environments
    } | once | while IFS= read -r p_prefix; do
        [ ! -x "$p_prefix/bin/python" ] || say "$p_prefix"
    done
}

# conda_prefix NAME: the environment of that name; fails where there is none.
conda_prefix() {
    if [ "$1" = base ]; then
        conda_roots | with_python
    else
        {
            conda_directories | while IFS= read -r n_dir; do say "$n_dir/$1"; done
            environments | while IFS= read -r n_prefix; do
                [ "${n_prefix##*/}" != "$1" ] || say "$n_prefix"
            done
        } | with_python
    fi
}

# with_python: the first of these directories with a Python.
with_python() {
    while IFS= read -r h_prefix; do
        [ -x "$h_prefix/bin/python" ] && say "$h_prefix" && return
    done
    return 1
}

# wanted_prefix: the directory of the environment that $python, $conda_env or $venv names; fails where there is none.
wanted_prefix() (
    if [ -n "$python" ]; then
        root=$python
        expand_root
        case $root in */bin/*) say "${root%/bin/*}" ;; esac
        return
    fi
    case $conda_env in
    '') root=$venv ;;
    */*) root=$conda_env ;;
    *) conda_prefix "$conda_env" && return || return ;;
    esac
    expand_root
    say "${root%/}"
)

# usual_directories: where programs are without being on any PATH, one a line.
usual_directories() {
    for u_dir in "$HOME/.local/bin" "${UV_TOOL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/tools}"/*/bin \
        "${PIPX_HOME:-$HOME/.local/share/pipx}"/venvs/*/bin "$HOME/.local/pipx"/venvs/*/bin /opt/homebrew/bin; do
        say "$u_dir"
    done
    { conda_roots && usual_roots; } | once | while IFS= read -r u_dir; do
        [ ! -d "$u_dir/bin" ] || say "$u_dir/bin"
    done
    say /usr/local/bin
}
