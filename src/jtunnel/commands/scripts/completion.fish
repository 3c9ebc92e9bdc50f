# fish completion for jtunnel: jtunnel completion fish > ~/.config/fish/completions/jtunnel.fish
# Made from the table of commands.

function __jtunnel_given --description 'The command and its words so far, without options and their values'
    set -l words (commandline -opc)
    while string match -qr '^\w+=' -- $words[1]
        set -e words[1]
    end
    set -e words[1]
    set -l skips 0
    for word in $words
        if test $skips = 1
            set skips 0
        else if contains -- $word @VALUED@
            set skips 1
        else if not string match -q -- '-*' $word
            printf '%s\n' $word
        end
    end
end

function __jtunnel_at --description 'COMMAND [PLACE]: whether a word of COMMAND is being typed, the PLACEth one'
    set -l given (__jtunnel_given)
    test "$given[1]" = $argv[1]
    and begin
        test (count $argv) = 1
        or test (count $given) = $argv[2]
    end
end

function __jtunnel_ask --description 'KIND [NAME]: the words that jtunnel knows, but those that stand there already'
    set -l given (commandline -opc)
    for line in (command jtunnel __complete $argv 2>/dev/null)
        contains -- (string split \t -- $line)[1] $given[3..]
        or printf '%s\n' $line
    end
end

complete -c jtunnel -e
complete -c jtunnel -f
set -l none 'test (count (__jtunnel_given)) = 0'
complete -c jtunnel -n $none -s h -l help -d 'show what there is'
complete -c jtunnel -n $none -s V -l version -d 'show the version'
@TABLE@
