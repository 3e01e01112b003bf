//! Leaves the emulations of kqueue and /dev/poll out where an external provider is linked instead:
//! see the build script of `selectors-sys`.

fn main() {
    for facility in ["kqueue", "devpoll"] {
        let variable = format!("SELECTORS_{}_LIB", facility.to_uppercase());
        println!("cargo::rerun-if-env-changed={variable}");
        println!("cargo::rustc-check-cfg=cfg(external_{facility})");
        if std::env::var_os(variable).is_some_and(|provider| !provider.is_empty()) {
            println!("cargo::rustc-cfg=external_{facility}");
        }
    }
}
