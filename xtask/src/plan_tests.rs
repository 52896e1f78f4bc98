//! Machines that nobody has at hand.

use super::*;

fn absent(needs: &[Need]) -> Vec<Package> {
    PACKAGES.iter().copied().filter(|package| needs.contains(&package.need)).collect()
}

fn every_name(llvm: u32) -> Option<Vec<String>> {
    Some(PACKAGES.iter().map(|package| package.name_for(llvm)).collect())
}

fn toolchain(name: &str, llvm: u32) -> Option<Toolchain> {
    Some(Toolchain { name: name.to_owned(), release: "1.96.0".to_owned(), llvm })
}

fn linker(llvm: Option<u32>) -> Option<Linker> {
    Some(Linker { version: LINKER_VERSION.to_owned(), llvm })
}

/// A Debian machine, root, with rustup and all that is needed.
fn complete() -> Facts {
    Facts {
        apt: true,
        root: true,
        rustup: true,
        toolchain: toolchain(LINKED, 22),
        linker: linker(Some(22)),
        ..Facts::default()
    }
}

/// The same, fresh: rustup's stable and nothing else.
fn fresh() -> Facts {
    Facts { toolchain: None, linker: None, absent: absent(&[Need::Tool, Need::Compiler, Need::Linker]), ..complete() }
}

#[test]
fn nothing_is_done_where_all_is_there() {
    assert_eq!(next(&complete()), Ok(None));
}

#[test]
fn compiler_and_llvm_packages_are_not_wanted_where_nightly_and_the_linker_are_there() {
    let absent = absent(&[Need::Compiler, Need::Linker]);
    let facts = Facts { toolchain: toolchain("nightly", 23), linker: linker(Some(23)), absent, ..complete() };
    assert_eq!(next(&facts), Ok(None));
}

#[test]
fn a_linker_of_unknown_llvm_is_believed() {
    assert_eq!(next(&Facts { linker: linker(None), ..complete() }), Ok(None));
}

#[test]
fn a_fresh_debian_gets_lists_packages_toolchain_llvm_and_linker_in_this_order() {
    let mut facts = fresh();
    assert_eq!(next(&facts), Ok(Some(Action::UpdateLists)));
    facts.offered = every_name(22);
    let Ok(Some(Action::Install(names))) = next(&facts) else { panic!("packages first") };
    assert!(names.contains(&"rustc-web".to_owned()) && names.contains(&"iperf3".to_owned()));
    assert!(!names.iter().any(|name| name.starts_with("llvm")), "its version is not known yet");
    facts.tried.push(Action::Install(names));
    facts.absent = absent(&[Need::Linker]);
    assert_eq!(next(&facts), Ok(Some(Action::LinkToolchain)));
    facts.toolchain = toolchain(LINKED, 22);
    let Ok(Some(Action::Install(names))) = next(&facts) else { panic!("LLVM next") };
    assert!(names.contains(&"llvm-22-dev".to_owned()));
    facts.absent.clear();
    assert_eq!(next(&facts), Ok(Some(Action::InstallLinker { llvm: 22, packaged: true })));
    facts.linker = linker(Some(22));
    assert_eq!(next(&facts), Ok(None));
}

#[test]
fn an_archive_without_the_compiler_leads_to_nightly() {
    let mut facts = fresh();
    facts.absent = absent(&[Need::Compiler, Need::Linker]);
    facts.offered = Some(vec![]);
    assert_eq!(next(&facts), Ok(Some(Action::InstallNightly)));
    facts.tried.push(Action::InstallNightly);
    assert_eq!(next(&facts).map_err(|exit| exit.code), Err(3));
}

#[test]
fn a_linker_for_another_llvm_is_built_anew() {
    let facts = Facts { linker: linker(Some(21)), ..complete() };
    assert_eq!(next(&facts), Ok(Some(Action::InstallLinker { llvm: 22, packaged: true })));
}

#[test]
fn nightly_whose_linker_cannot_be_built_gives_way_to_debians_compiler() {
    let mut facts = fresh();
    facts.toolchain = toolchain("nightly", 23);
    facts.absent = absent(&[Need::Compiler, Need::Linker]);
    facts.offered = Some(["rustc-web", "cargo-web", "rust-web-src", "g++"].map(str::to_owned).to_vec());
    facts.tried.push(Action::Install(vec!["g++".to_owned()]));
    assert_eq!(next(&facts), Ok(Some(Action::InstallLinker { llvm: 23, packaged: false })));
    facts.tried.push(Action::InstallLinker { llvm: 23, packaged: false });
    assert!(matches!(next(&facts), Ok(Some(Action::Install(names))) if names[0] == "rustc-web"));
    facts.absent = absent(&[Need::Linker]);
    assert_eq!(next(&facts), Ok(Some(Action::LinkToolchain)));
    facts.tried.push(Action::LinkToolchain);
    assert_eq!(next(&facts).map_err(|exit| exit.code), Err(3), "when that fails as well");
}

#[test]
fn an_llvm_that_the_linker_does_not_know_is_not_tried() {
    let facts = Facts { toolchain: toolchain(LINKED, 19), linker: None, ..complete() };
    let exit = next(&facts).expect_err("no such feature");
    assert!(exit.code == 3 && exit.message.contains("LLVM 19"), "{exit}");
}

#[test]
fn without_apt_what_is_missing_is_named() {
    let exit = next(&Facts { apt: false, ..fresh() }).expect_err("cannot install");
    assert!(exit.code == 2 && exit.message.contains("iperf3"), "{exit}");
    assert_eq!(next(&Facts { apt: false, ..complete() }), Ok(None), "apt is not needed where nothing is missing");
}

#[test]
fn without_root_one_sentence_says_so() {
    let exit = next(&Facts { root: false, ..fresh() }).expect_err("cannot install");
    assert!(exit.code == 3 && !exit.message.contains('\n'), "{exit}");
    assert_eq!(next(&Facts { root: false, ..complete() }), Ok(None));
}

#[test]
fn a_tool_that_cannot_be_had_does_not_stop_the_rest() {
    let tool = PACKAGES[0];
    let mut facts = Facts { absent: vec![tool], offered: Some(vec![]), ..complete() };
    assert_eq!(next(&facts), Ok(None));
    assert_eq!(unavailable(&facts).count(), 1);
    facts.offered = Some(vec![tool.name.to_owned()]);
    facts.tried.push(Action::Install(vec![tool.name.to_owned()]));
    assert_eq!(next(&facts), Ok(None), "nor one whose installation failed twice");
}

#[test]
fn a_toolchain_that_was_asked_for_is_not_replaced() {
    let facts = Facts { asked: Some("nightly-2026-01-01".to_owned()), toolchain: None, ..complete() };
    assert_eq!(next(&facts).map_err(|exit| exit.code), Err(2));
}

#[test]
fn no_step_is_done_twice() {
    for (apt_offers, llvm_offers) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut facts = fresh();
        for _ in 0..12 {
            let Ok(Some(action)) = next(&facts) else { break };
            assert!(!facts.tried.contains(&action), "{action:?} again");
            if action == Action::UpdateLists {
                let all = every_name(22).unwrap_or_default();
                let keep = |name: &String| if name.contains("llvm") { llvm_offers } else { apt_offers };
                facts.offered = Some(all.into_iter().filter(keep).collect());
            }
            facts.tried.push(action);
        }
        assert!(facts.tried.len() < 12);
    }
}
