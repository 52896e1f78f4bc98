//! A suite of tests as JUnit XML, as CI systems show it.

use super::xml;

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It passed.
    Passed,
    /// It failed, by this name.
    Failed(&'static str),
    /// It could not be decided, by this name.
    Errored(&'static str),
    /// It was not run, or does not count.
    Skipped,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it belongs to.
    pub class: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub became: Became,
    /// What is told of it.
    pub told: String,
}

/// A suite.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// What is true of all cases.
    pub properties: Vec<(&'static str, String)>,
    /// The cases.
    pub cases: Vec<Case>,
    /// What else is told.
    pub said: String,
}

impl Suite {
    /// It as a file.
    pub fn render(&self) -> String {
        let count = |is: fn(Became) -> bool| self.cases.iter().filter(|case| is(case.became)).count();
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
            self.cases.len(),
            count(|became| matches!(became, Became::Failed(_))),
            count(|became| matches!(became, Became::Errored(_))),
            count(|became| became == Became::Skipped)
        );
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        out += &format!("<testsuites {counts}>\n  <testsuite name=\"{}\" {counts}>\n", xml(&self.name));
        out += "    <properties>\n";
        for (name, value) in &self.properties {
            out += &format!("      <property name=\"{name}\" value=\"{}\"/>\n", xml(value));
        }
        out += "    </properties>\n";
        self.cases.iter().for_each(|case| out += &case.render());
        out += &format!("    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n", xml(&self.said));
        out
    }
}

impl Case {
    fn render(&self) -> String {
        let told = xml(&self.told);
        let within = match self.became {
            Became::Passed => format!("<system-out>{told}</system-out>"),
            Became::Failed(kind) => format!("<failure type=\"{kind}\" message=\"{told}\"/>"),
            Became::Errored(kind) => format!("<error type=\"{kind}\" message=\"{told}\"/>"),
            Became::Skipped => format!("<skipped message=\"{told}\"/>"),
        };
        let (class, name) = (xml(&self.class), xml(&self.name));
        format!("    <testcase classname=\"{class}\" name=\"{name}\">{within}</testcase>\n")
    }
}
