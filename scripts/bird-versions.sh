#!/bin/sh
# Fetches other versions of BIRD from Debian's archive, for tests. Usage: bird-versions.sh DIRECTORY
#
# Nothing is installed: apt works on lists and a cache of its own below DIRECTORY, and the programs
# get their C library and the rest from there too, for those of this system may be too old for
# them. Each version ends up in DIRECTORY/<package>-<version>/ with bird and birdc; put that first
# in PATH. Prints these directories, one a line.
set -eu

mkdir -p "$1"
root=$(cd "$1" && pwd)
# The mirror that this system uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security |
    head -n 1)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial" "$root/deb"
for suite in trixie trixie-backports sid; do
    echo "deb [signed-by=$keyring] $mirror $suite main"
done > "$root/apt/sources.list"
cat > "$root/apt/apt.conf" << END
Dir::Etc::sourcelist "$root/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$root/apt/lists";
Dir::State::status "/dev/null";
Dir::Cache "$root/apt/cache";
APT::Sandbox::User "root";
END
export APT_CONFIG="$root/apt/apt.conf"
apt-get -qq update

fetch() {
    (cd "$root/deb" && apt-get -qq download "$@")
}

# What bird and birdc are linked with, all of one suite.
if [ ! -d "$root/lib" ]; then
    fetch libc6/sid libssh-4/sid libreadline8t64/sid libtinfo6/sid libssl3t64/sid zlib1g/sid \
        libzstd1/sid libgssapi-krb5-2/sid libkrb5-3/sid libk5crypto3/sid libkrb5support0/sid \
        libcom-err2/sid libkeyutils1/sid libgcc-s1/sid libstdc++6/sid patchelf/sid
    mkdir -p "$root/lib.new"
    for file in "$root"/deb/*.deb; do
        dpkg-deb -x "$file" "$root/lib.new"
    done
    mv "$root/lib.new" "$root/lib"
    rm -f "$root"/deb/*.deb
fi
libraries=$root/lib/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
loader=$(find "$root/lib" -name 'ld-linux*.so.*' | head -n 1)

for package in bird2 bird3; do
    apt-cache madison "$package" | cut -d '|' -f 2 | tr -d ' ' | while read -r version; do
        home=$root/$package-$version
        if [ ! -d "$home" ]; then
            fetch "$package=$version"
            mkdir -p "$home.new/tree"
            dpkg-deb -x "$root"/deb/*.deb "$home.new/tree"
            rm -f "$root"/deb/*.deb
            for program in bird birdc; do
                cp "$(find "$home.new/tree" -path '*bin/*' -name "$program")" "$home.new/$program"
                "$loader" --library-path "$libraries" "$root/lib/usr/bin/patchelf" \
                    --set-interpreter "$loader" --set-rpath "$libraries" "$home.new/$program"
            done
            rm -rf "$home.new/tree"
            mv "$home.new" "$home"
        fi
        echo "$home"
    done
done
