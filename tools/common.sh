# shellcheck shell=bash disable=SC2154
# What ./run, ./test, .ci/run and the scripts in tools/ share: messages, and children that never
# outlive the script. Sourced, never run. The caller has set `root` (the checkout) and runs under
# `set -euo pipefail`.
#
# Every long command runs through start_child in a session of its own, for two reasons. Ctrl-C then
# reaches only the script, which ends its children in its own order (doorbuster takes a second
# signal as "exit at once"); and bash can act on a signal while it waits, not only afterwards.

script_name=${0##*/}

say() { printf '%s\n' "== $*"; }
complain() { printf '%s: %s\n' "$script_name" "$*" >&2; }
die() {
    complain "$@"
    exit 1
}
usage_error() {
    complain "$@"
    exit 2
}

# A compiler that digests Asio and Beast takes about 1 GiB, so a small machine gets fewer jobs than
# it has cores.
job_count() {
    local cores memory_gib
    cores=$(nproc)
    memory_gib=$(awk '/^MemTotal:/ { print int($2 / 1048576) }' /proc/meminfo)
    if ((memory_gib < 1)); then memory_gib=1; fi
    echo $((cores < memory_gib ? cores : memory_gib))
}

# Nothing is written outside the checkout: compilers and tests have scratch folder and cache in it.
stay_in_checkout() {
    export TMPDIR="$root/build/tmp"
    export CCACHE_DIR="${CCACHE_DIR:-$root/build/ccache}"
    mkdir -p "$TMPDIR"
}

children=()
child_pid=""

# setpriv: the child gets SIGTERM even if this script is killed with SIGKILL. setsid: see above.
# env: bash starts background commands with SIGINT ignored, and a child would hand that on.
start_child() { # COMMAND...; leaves the process id, which is also its group, in child_pid
    setpriv --pdeathsig TERM setsid env --default-signal=INT,QUIT "$@" </dev/null &
    child_pid=$!
    children+=("$child_pid")
}

forget_child() { # PID
    local kept=() pid
    for pid in "${children[@]}"; do
        if [[ $pid != "$1" ]]; then kept+=("$pid"); fi
    done
    children=("${kept[@]}")
}

supervise() { # COMMAND...; runs it to its end and returns its status
    local status=0 pid
    start_child "$@"
    pid=$child_pid
    wait "$pid" || status=$?
    forget_child "$pid"
    return "$status"
}

# Before its setsid the child has no group of its own, so the process itself is the second choice.
signal_group() { # SIGNAL PID
    kill "-$1" -- "-$2" 2>/dev/null || kill "-$1" "$2" 2>/dev/null
}

# doorbuster promises to be gone 10 s after SIGTERM; what is still there after 12 s is killed. A
# second signal to this script is passed on and means "at once".
stop_child() { # PID; returns the status of the child
    local pid=$1 status=0 tries=0
    trap 'signal_group TERM "$pid" || true' INT TERM HUP
    if signal_group TERM "$pid"; then
        while signal_group 0 "$pid"; do
            if ((tries == 120)); then signal_group KILL "$pid" || true; fi
            if ((tries == 150)); then break; fi
            tries=$((tries + 1))
            sleep 0.1
        done
    fi
    wait "$pid" 2>/dev/null || status=$?
    forget_child "$pid"
    return "$status"
}

stop_children() {
    local status=$? pid
    trap - EXIT
    for pid in "${children[@]}"; do stop_child "$pid" || true; done
    exit "$status"
}

# An interrupted script ends with the status that a shell gives to a command that the signal killed.
stop_children_on_exit() {
    trap stop_children EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
