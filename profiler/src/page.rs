//! Pages of `docs/` of which a part is made from a table: the test holds the page to it.

/// Ends what is written by hand, where the rest of the page is made.
const INTRODUCTION: &str = "writes what follows.\n\n";

/// Compares a page with what it should be, or writes it with `NETSTRATA_BLESS=1`; what it should be.
pub fn check(name: &str, sections: &str) -> String {
    replace(name, |page| {
        let intro = page.find(INTRODUCTION).expect("the page has its introduction") + INTRODUCTION.len();
        format!("{}{sections}", &page[..intro])
    })
}

/// The same for a part within a page: from the line `<!-- PART: … -->` to the line `<!-- end -->`.
pub fn check_part(name: &str, part: &str, made: &str) -> String {
    replace(name, |page| {
        let lead = page.find(&format!("<!-- {part}: ")).expect("the page has the part");
        let begin = lead + page[lead..].find('\n').expect("a line has an end") + 1;
        let end = begin + page[begin..].find("<!-- end -->\n").expect("the part has an end");
        format!("{}\n{made}\n{}", &page[..begin], &page[end..])
    })
}

fn replace(name: &str, made: impl Fn(&str) -> String) -> String {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).expect("the page");
    let wanted = made(&page);
    if std::env::var_os("NETSTRATA_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("a place to write to");
    } else {
        assert_eq!(page, wanted, "run with NETSTRATA_BLESS=1");
    }
    wanted
}
