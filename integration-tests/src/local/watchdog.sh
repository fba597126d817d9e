# Ends what a cluster left behind. Arguments: the cluster's folder, and `keep` to leave its files.
# Standard input is a pipe held by the process under test: its end means that this process stopped the
# cluster or died, whichever way.
root=$1
trap '' INT TERM HUP QUIT

while read -r _; do :; done

# Processes are known by their name and by a working directory inside our folder, never by a number alone.
# Argument: `mysql` for those of the MySQL family alone.
members() {
  for p in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$p/comm" || continue
    case $name in
      # The last: a server of another system that was started by that system's loader.
      mariadb* | mysqld* | ld-linux*) ;;
      postgres* | postmaster | initdb | pg_*) [ "$1" = mysql ] && continue ;;
      *) continue ;;
    esac
    case $(readlink "$p/cwd" 2>/dev/null) in "$root" | "$root"/*) echo "${p#/proc/}" ;; esac
  done
}

# MySQL's servers hold nothing that outlives them.
kill -KILL $(members mysql) 2>/dev/null

# An immediate shutdown first: it gives the shared memory back.
kill -CONT $(members) 2>/dev/null
for file in "$root"/node-*/data/postmaster.pid; do
  read -r pid 2>/dev/null <"$file" || continue
  case $(readlink "/proc/$pid/cwd" 2>/dev/null) in "$root"/*) kill -QUIT "$pid" 2>/dev/null ;; esac
done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ -z "$(members)" ] && break
  sleep 0.05
done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  left=$(members)
  [ -z "$left" ] && break
  kill -KILL $left 2>/dev/null
  sleep 0.05
done

# A killed server leaves its lock file, which names the shared memory segment it also left.
for file in "$root"/node-*/data/postmaster.pid; do
  segment=$(sed -n '7s/^ *[0-9]* *\([0-9]*\).*$/\1/p' "$file" 2>/dev/null)
  [ -n "$segment" ] && ipcrm -m "$segment" 2>/dev/null
done

[ "$2" = keep ] && exit 0
for _ in 1 2 3 4 5; do
  rm -rf "$root" 2>/dev/null && exit 0
  sleep 0.1
done
exit 1
