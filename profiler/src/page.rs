//! Pages of `docs/` whose second part is made from a table: the test holds the page to it.

/// Ends what is written by hand.
const INTRODUCTION: &str = "writes what follows.\n\n";

/// Compares a page with what it should be, or writes it with `NETSTRATA_BLESS=1`; what it should be.
pub fn check(name: &str, sections: &str) -> String {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).expect("the page");
    let intro = page.find(INTRODUCTION).expect("the page has its introduction") + INTRODUCTION.len();
    let wanted = format!("{}{sections}", &page[..intro]);
    if std::env::var_os("NETSTRATA_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("a place to write to");
    } else {
        assert_eq!(page, wanted, "run with NETSTRATA_BLESS=1");
    }
    wanted
}
