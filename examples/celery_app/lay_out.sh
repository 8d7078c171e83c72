#!/bin/sh
# Make this example a repository of its own, in the folder given: a good commit, then a careless one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir "$1"
cp -R "$here/shop.py" "$here/prices.py" "$here/tests" "$1"
cd "$1"
touch conftest.py
echo "__pycache__/" > .gitignore
commit() {
    git add -A
    git -c user.name=Shop -c user.email=shop@example.org commit -q -m "$1"
}
git init -q
commit "A shop"
git apply "$here/careless.patch"
commit "Say rebate instead of discount"
echo "$PWD: $(git log --oneline | wc -l) commits; \`python -m pytest\` fails there"
