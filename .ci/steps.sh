# What `.ci/run` and `.ci/full` share. Everything happens in a copy of the checkout, which is removed afterwards. A server or
# package that is missing is a failure: with CI set, no test is skipped for it.
# The last line is "N passed, N failed". The exit status is 1 if anything has failed, or nothing was run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/logs" "$work/copy"
passed=0
failed=0
skipped=0
export CI=true PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
unset PYTHONPATH

heading() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

# Prints the sums and ends.
finish() {
    heading "done"
    [ "$skipped" -eq 0 ] || echo "$skipped skipped, for reasons that no installation changes"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# Ends with a failure.
give_up() {
    printf '%s\n' "$@"
    failed=$((failed + 1))
    finish
}

# Installs packages of Debian that are missing, for which it must be root. Their services must not start.
install_packages() {
    local missing=() name policy=/usr/sbin/policy-rc.d ours='' result=0
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || give_up "packages of Debian are missing; run this as root, then the gate again:" \
        "apt-get install --no-install-recommends ${missing[*]}"
    heading "apt-get install ${missing[*]}"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod +x "$policy"
        ours=yes
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
        > "$work/logs/apt" 2>&1 || result=$?
    [ -z "$ours" ] || rm -f "$policy"
    [ "$result" -eq 0 ] || give_up "$(tail -n 20 "$work/logs/apt")" "these packages can't be installed: ${missing[*]}"
}

# Copies the checkout, and finds the README's test command.
copy_checkout() {
    git -c safe.directory="$here" ls-files -z --cached --others --exclude-standard \
        | tar --null --ignore-failed-read -cf - -T - 2>/dev/null | tar -xf - -C "$work/copy"
    readme_tests=$(grep -E 'trial -j3 tests$' README.md) || true
    [ "$(grep -c . <<< "$readme_tests")" -eq 1 ] \
        || give_up "README.md must have exactly one line that ends in 'trial -j3 tests'; found:" "$readme_tests"
}

# Runs a step in the copy, with its output in a log; shows the log if it fails.
step() {
    local name=$1
    shift
    heading "$name"
    if (cd "$work/copy" && "$@") > "$work/logs/$name" 2>&1 < /dev/null; then
        passed=$((passed + 1))
        tail -n 3 "$work/logs/$name"
    else
        failed=$((failed + 1))
        tail -n 60 "$work/logs/$name"
        echo "$name: failed"
    fi
}

# Runs command lines that run tests in the copy, side by side, and counts the tests.
tests() {
    local name=$1 status=0 index=0 command counted
    local -a logs=() processes=()
    shift
    for command in "$@"; do
        heading "$name: ${command:0:120}"
        index=$((index + 1))
        logs+=("$work/logs/$name-$index")
        (cd "$work/copy" && bash -c "$command") > "$work/logs/$name-$index" 2>&1 < /dev/null &
        processes+=($!)
    done
    for index in "${!processes[@]}"; do
        wait "${processes[$index]}" || { status=$?; sed -n '/^=====/,$p' "${logs[$index]}" | head -n 400; }
        tail -n 3 "${logs[$index]}"
    done
    counted=$(python3 "$here/.ci/count_tests.py" "${logs[@]}")
    set -- $counted
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    if [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
        failed=$((failed + 1))
        echo "$name: exit status $status"
    fi
    echo "$name: $1 passed, $2 failed, $3 skipped ($SECONDS s)"
}

# Prints the executable of a version of Python that can create virtualenvs, or nothing.
find_python() {
    local candidate real
    for candidate in $(type -ap "python$1") /opt/python/"$1"/bin/python3 ~/.pyenv/versions/"$1".*/bin/python3; do
        real=$("$candidate" -c "import ensurepip, sys; v = '%d.%d' % sys.version_info[:2]; print(sys.executable if v == '$1' else '')" \
            2>/dev/null) || continue
        [ -z "$real" ] || { echo "$real"; return; }
    done
}

# Runs the README's command with a version of Python, whose executable is given.
readme_tests() {
    # The command creates the virtualenv with python3: here, that is this version.
    mkdir "$work/bin-$1"
    ln -s "$2" "$work/bin-$1/python3"
    rm -rf "$work/copy/venv"
    PATH="$work/bin-$1:$PATH" tests "tests-$1" "$readme_tests"
}

# Runs tests on the asyncio reactor. trial's workers can't do that, so two halves run side by side. Takes the command, and folders
# that are left out.
asyncio_tests() {
    local modules folder without=()
    for folder in "${@:2}"; do without+=(-not -path "$folder/*"); done
    modules=$(cd "$work/copy" && find tests -name 'test_*.py' -not -path '*/fixtures/*' "${without[@]}" | sort | sed 's#\.py$##; s#/#.#g')
    tests "tests-asyncio" "$1 --reactor=asyncio --temp-directory=_trial_temp_1 $(sed -n 'p;n' <<< "$modules" | tr '\n' ' ')" \
        "$1 --reactor=asyncio --temp-directory=_trial_temp_2 $(sed -n 'n;p' <<< "$modules" | tr '\n' ' ')"
}

# The checks of a change that don't run tests.
checks() {
    step tools venv/bin/pip install -q -e '.[test,lint,docs]' build coverage twine
    step lint bash -c "venv/bin/ruff check . && venv/bin/python .ci/prose.py"
    step format venv/bin/ruff format --check .
    step types venv/bin/mypy --strict errklein
    step docs venv/bin/sphinx-build -q -W --keep-going -b html docs "$work/docs"
    step packaging venv/bin/python .ci/distributions.py
}

# The tests of the contract on errbot itself, in an environment without errklein.
contract_on_errbot() {
    step errbot bash -c "'$1' -m venv venv-errbot && venv-errbot/bin/pip install -q 'errbot[irc]' hypothesis pytest requests"
    # Two halves of the chapters run side by side. A half that fails is run once more: errbot's server sometimes hangs when it
    # stops, which says nothing about errklein.
    local chapters halves=() script="venv-errbot/bin/python .ci/contract_on_errbot.py"
    for chapters in "_01 _02 _03 _04 _05 _08" "_06 _07 _09 _1"; do
        halves+=("first=\$($script $chapters) && echo \"\$first\" || { grep '^ERROR\|^FAIL:' <<< \"\$first\"; $script $chapters; }")
    done
    tests "contract-on-errbot" "${halves[@]}"
}
