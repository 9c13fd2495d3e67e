# lib.sh - for tests/cli/*.sh: a scratch folder, checks, and the closing line.
# Source it first; $KIJIL is the program under test. Each check prints only
# when it fails. Call `done_testing` last.
# shellcheck shell=bash
set -u
KIJIL=${KIJIL:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/release/kijil}
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034
SHARED=$TOP/../shared/data
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T" || exit 2
_pass=0 _fail=0 _skip=0

ok() { _pass=$((_pass + 1)); }
bad() { _fail=$((_fail + 1)); echo "FAIL $*"; }
skip() { _skip=$((_skip + 1)); echo "skip $*"; }
# rc NAME WANT COMMAND... : exit status; output in $T/out and $T/err
rc() {
    local name=$1 want=$2 got
    shift 2
    "$@" >"$T/out" 2>"$T/err"
    got=$?
    if [[ $got -eq $want ]]; then ok; else
        bad "$name: exit status $got, want $want"
        sed 's/^/  /' "$T/err" | tail -n 5
    fi
}
# is NAME GOT WANT
is() { if [[ $2 == "$3" ]]; then ok; else bad "$1: got [$2], want [$3]"; fi; }
# same NAME FILE FILE
same() { if cmp -s "$2" "$3"; then ok; else bad "$1: $2 and $3 differ"; fi; }
# has NAME FILE PATTERN (extended regular expression)
has() { if grep -aqE -- "$3" "$2"; then ok; else bad "$1: no /$3/ in $2"; fi; }
hasnt() { if grep -aqE -- "$3" "$2"; then bad "$1: /$3/ in $2"; else ok; fi; }
# python_with MODULE: the Python that can import it, or nothing
python_with() {
    local p
    for p in python3 /usr/bin/python3; do
        if "$p" -c "import $1" 2>/dev/null; then
            echo "$p"
            return
        fi
    done
}
done_testing() {
    echo "$_pass passed, $_fail failed, $_skip skipped"
    [[ $_fail -eq 0 ]]
    exit
}
