#!/usr/bin/env bash
# Made what is frozen here, in an empty folder, with the program of the day in $L (or in the PATH); then
# `run` was removed from the stores and all of it was packed. `range` and the like are the contents that
# the proofs are about. Programs after 2026-11-21 leave a stream open at its end: they need E=--seal-on-eof.
set -eu
L=${L:-lucid}
umask 077
mkdir -p in/folder/sub && cd in/folder
head -c 80000 /dev/zero | openssl enc -aes-128-ctr -K 00000000000000000000000000000001 -iv 00000000000000000000000000000000 >big
seq 1 2000 >sub/numbers; printf 'hello\n' >hello; : >empty; mkdir hollow
ln hello second-name; ln -s ../outside sub/link; printf x >'odd \\ name'
python3 -c 'import os; os.setxattr("hello", "user.note", b"kept")'
find . -exec touch -h -d '2026-11-20T10:00:00Z' {} +
cd ../..
S="$L --data store"
$S archive in/folder --session tree --user ann --meta kind=folder >/dev/null
seq 1 500 | $S archive - --session piped >/dev/null
printf 'first\n' | $S append --session live --keep-open >/dev/null; sleep 2.1
printf 'second\n' | $S append --session live --keep-open >/dev/null; sleep 2.1
printf 'third\n' | $S append --session live ${E-} >/dev/null
printf 'still open\n' | $S append --session open --keep-open >/dev/null
printf 'cut off\n' | $S append --session gone --keep-open >/dev/null; $S seal gone --unterminated >/dev/null
$S keys rotate >/dev/null
seq 5000 9000 | $S archive - --session removed >/dev/null
seq 1 9000 | $S archive - --session held >/dev/null
$S hold held --reason 'a dispute' >/dev/null
$S rm removed --yes --reason 'not ours' >/dev/null
$S gc --yes >/dev/null
$S optimise >/dev/null
$S archive in/folder/sub --session again >/dev/null
mkdir proofs
$S prove tree -o proofs/session.proof
$S prove tree --chunk 0 -o proofs/chunk.proof
$S prove piped --range 100-199 -o proofs/range.proof
$S prove tree --path sub/numbers -o proofs/path.proof
from=$($S show live --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["started_at"])')
$S prove live --from "$from" --to 2099-01-01T00:00:00Z -o proofs/span.proof
$S chain export proofs/chain.jsonl >/dev/null
$S mirror mirror >/dev/null
$S --json show tree >proofs/tree.json
$S --json ls >proofs/ls.json
P="$L --data plain"
printf "in clear\n" | $P archive - --no-encryption --session clear >/dev/null

# What the program of that day says of its own proofs, with and without the keys trusted.
key() { python3 -c 'import json,sys
shown = json.load(open("proofs/tree.json"))
for name in sys.argv[1:]:
    shown = shown[name]
print(shown)' "$@"; }
trust="--trust $(key anchor trust recorder) --trust $(key anchor trust block)"
check() {
  proof=$1; shift
  code=0; $L check-proof "proofs/$proof.proof" "$@" >"proofs/$proof.$kind.txt" 2>&1 || code=$?
  echo "exit $code" >>"proofs/$proof.$kind.txt"
}
seq 1 500 | head -c 200 | tail -c +101 >in/range
$S cat live >in/live
for kind in trusted alone; do
  [ $kind = trusted ] || trust=
  check session $trust
  check chunk $trust
  check range in/range $trust
  check path in/folder/sub/numbers $trust
  check span in/live $trust
done
