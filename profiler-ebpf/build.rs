//! Tells the programs for which architecture they are, also where they are only checked.

fn main() {
    aya_build::emit_bpf_target_arch_cfg().expect("cargo tells build scripts the architecture");
}
