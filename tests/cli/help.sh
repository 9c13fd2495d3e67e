#!/bin/bash
# help.sh - what a newcomer meets first: the table, the help, wrong words.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

rc "no command" 2 "$KIJIL"
has "no command: the table" "$T/err" 'Curation'
rc "--help" 0 "$KIJIL" --help
cp "$T/out" table
rc "unknown command" 2 "$KIJIL" frobnicate
rc "--version" 0 "$KIJIL" --version
has "--version" "$T/out" '^kijil [0-9]+\.[0-9]+'

# Every command explains itself, and its man page is made of the same words.
rc "man pages" 0 "$KIJIL" completion man man
for name in $(awk '/^  [a-z]/ {print $1}' table); do
    rc "help $name" 0 "$KIJIL" help "$name"
    has "help $name" "$T/out" "^kijil $name - "
    has "help $name: usage" "$T/out" "^usage: kijil $name"
    has "man $name" "man/kijil-$name.1" '^\.SH SYNOPSIS'
    if [[ $name != help && $name != completion ]]; then
        rc "$name: wrong option" 2 "$KIJIL" "$name" --no-such-option-here
        has "$name: wrong option" "$T/err" 'no-such-option-here'
    fi
done
for shell in bash zsh fish; do
    rc "completion $shell" 0 "$KIJIL" completion $shell
    has "completion $shell" "$T/out" extract
done
rc "completion for no shell" 2 "$KIJIL" completion tcsh
if bash -c 'type complete' >/dev/null 2>&1; then
    "$KIJIL" completion bash >c.bash
    # shellcheck disable=SC2016
    is "bash completes options" "$(bash -c '. ./c.bash
        COMP_WORDS=(kijil filter --rejec) COMP_CWORD=2; _kijil
        echo "${COMPREPLY[*]}"')" "--rejects"
fi
done_testing
