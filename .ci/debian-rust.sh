# Sourced by the scripts that build for other targets. Puts Debian's Rust first in PATH: it comes
# with the source of std, so std for any target can be made here instead of downloaded.
# shellcheck shell=bash

.ci/setup rustc-web cargo-web rust-web-src rust-web-clippy
export PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc
unset RUSTUP_TOOLCHAIN RUSTFLAGS

cache=$(realpath -m "${SELECTORS_CACHE:-target/toolchains}")
# Another compiler cannot read what this one has made.
cache=$cache/$(rustc -vV | sha256sum | cut -c1-12)

# sysroot_for check|build TARGET...: makes std for the targets, where the cache lacks it, and sets
# $sysroot for `--sysroot`. "check" is enough for clippy and takes less; "build" can be linked.
sysroot_for() {
    local mode=$1 host profile files flags libraries target missing=()
    shift
    case $mode in
        check)
            profile=debug files=rmeta
            flags=(-Z build-std=std,panic_abort,test -Z build-std-features=)
            ;;
        build)
            profile=release files=rlib
            flags=(--release -Z build-std=std,panic_unwind,test -Z build-std-features=panic-unwind)
            ;;
    esac
    sysroot=$cache/$mode
    libraries=$sysroot/lib/rustlib
    host=$(rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$libraries"
    ln -sfn "$(rustc --print sysroot)/lib/rustlib/$host" "$libraries/$host"

    # A target's folder gets its name last, so one that is there is whole.
    for target in "$@"; do
        [ -e "$libraries/$target" ] || missing+=("$target")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    echo "making std for ${missing[*]}"
    mkdir -p "$cache/empty/src"
    : >"$cache/empty/src/lib.rs"
    printf '%s\n' '[package]' 'name = "empty"' 'edition = "2024"' '[workspace]' \
        >"$cache/empty/Cargo.toml"
    # RUSTC_BOOTSTRAP lets a released compiler build std. Nothing of ours is built with it.
    (
        cd "$cache/empty"
        RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
            cargo "$mode" --quiet --target-dir "$cache/std" "${flags[@]}" "${missing[@]/#/--target=}"
    )
    for target in "${missing[@]}"; do
        rm -rf "$libraries/$target.part"
        mkdir -p "$libraries/$target.part/lib"
        find "$cache/std/$target/$profile/deps" -name "*.$files" ! -name 'libempty-*' \
            -exec cp -t "$libraries/$target.part/lib" {} +
        mv "$libraries/$target.part" "$libraries/$target"
    done
    rm -r "$cache/std"
}
