//! Leaves the emulation of kqueue out where an external provider is linked instead: see the build
//! script of `selectors-sys`.

fn main() {
    println!("cargo::rerun-if-env-changed=SELECTORS_KQUEUE_LIB");
    println!("cargo::rustc-check-cfg=cfg(external_kqueue)");
    if std::env::var_os("SELECTORS_KQUEUE_LIB").is_some_and(|provider| !provider.is_empty()) {
        println!("cargo::rustc-cfg=external_kqueue");
    }
}
