# Installs the packages named as arguments, and starts, stops and restarts no service by it. Run as root.
#
# For the time of the call only:
# - /usr/sbin/policy-rc.d answers 101 ("forbidden by policy", Debian Policy 9.3.3.1, invoke-rc.d(8)); one that is there already is put
#   aside, not overwritten, and put back;
# - /etc/postgresql-common/createcluster.d/ says that a new PostgreSQL gets no cluster `main`;
# - needrestart restarts nothing.
# All of it is undone at the end, at an interruption, and, after a kill -9, at the next call.
set -eu

policy=/usr/sbin/policy-rc.d
policy_before=$policy.before-zonecert
mark='made by the Zonecert package installation'
cluster_dir=/etc/postgresql-common/createcluster.d
cluster_conf=$cluster_dir/zonecert-no-cluster.conf
system=/etc/systemd/system

restore() {
    if grep -qs "$mark" "$policy"; then rm -f "$policy"; fi
    if [ -e "$policy_before" ] || [ -L "$policy_before" ]; then mv -f "$policy_before" "$policy"; fi
    rm -f "$cluster_conf"
    if [ -d "$cluster_dir" ]; then rmdir --ignore-fail-on-non-empty --parents "$cluster_dir"; fi
}

restore
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$policy_before"; fi
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" > "$policy"
chmod 755 "$policy"
mkdir -p "$cluster_dir"
printf '# %s\ncreate_main_cluster = false\n' "$mark" > "$cluster_conf"

is_here() {
    [ -e /lib/systemd/system/"$1" ] || [ -e /usr/lib/systemd/system/"$1" ]
}
new_units=
for unit in pdns.service prometheus.service nginx.service haproxy.service certbot.timer; do
    if ! is_here "$unit"; then new_units="$new_units $unit"; fi
done

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

# Without standard input, since nobody is asked anything. apt-get waits for another apt-get that holds the lock.
get() {
    apt-get -q -o DPkg::Lock::Timeout=300 "$@" < /dev/null
}

# The package lists are fetched only if they do not know the packages, or are too old to fetch them by.
if ! get install --simulate --no-install-recommends "$@" > /dev/null 2>&1; then
    get update
    get install --yes --no-install-recommends "$@"
elif ! get install --yes --no-install-recommends "$@"; then
    get update
    get install --yes --no-install-recommends "$@"
fi

# Debian enables these, which at the next boot would take ports 53, 80 and 9090, or renew. What was here before stays as it was.
for unit in $new_units; do
    for link in "$system/multi-user.target.wants/$unit" "$system/timers.target.wants/$unit"; do
        if [ -L "$link" ]; then
            rm -f "$link"
            echo "$unit, new on this machine, is not started at boot (systemctl enable $unit would)."
        fi
    done
done
