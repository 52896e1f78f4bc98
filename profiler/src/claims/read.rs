//! Claims from TOML. The file's reference is `docs/claims.md`; complaints name file, line and field.

use clap::Parser as _;
use netstrata_common::Layer;
use toml::de::DeTable;

use super::{
    fields::{Field, Fields, Source},
    figures::{Figure, names},
    model::{Bound, Cell, Claim, Claimed, OPTIONS, SaidCause, Shows, Test, Work},
};
use crate::{
    choices::{self, Clock, RunsOn, Workload},
    cli::{Cli, Command, LabCommand, LabRunArgs},
    explain::CauseName,
    failure::Failure,
    lab::{modes, programs},
};

/// A ratio is about what is claimed within this part of it, where a claim says nothing else.
const WITHIN: f64 = 0.25;
/// Letters of an id.
const MOST_LETTERS: usize = 48;

/// The claims of a file, in its order.
///
/// # Errors
/// [`Failure::Usage`] with the file, the line and the field.
pub fn read(name: &str, text: &str) -> Result<Vec<Claim>, Failure> {
    let source = Source { name, text };
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.wrong(at, "", error.message().lines().collect::<Vec<_>>().join(", "))
    })?;
    let mut file = Fields::new(source, "", parsed.get_ref(), 0);
    let said_by = file.take("source").map(|field| field.text()).transpose()?.unwrap_or_else(|| name.to_owned());
    // For whoever reads the file.
    file.take("title").map(|field| field.text()).transpose()?;
    let claims = file.need("claim")?.items()?;
    file.end()?;
    let mut found: Vec<Claim> = Vec::new();
    for item in claims {
        let read = claim(item.table()?, source, &said_by)?;
        if found.iter().any(|other| other.id == read.id) {
            return Err(item.wrong(format!("there is another claim `{}` in this file", read.id)));
        }
        found.push(read);
    }
    Ok(found)
}

fn claim(mut fields: Fields<'_, '_>, source: Source<'_>, said_by: &str) -> Result<Claim, Failure> {
    let optional = |field: Option<Field<'_, '_>>| field.map(|field| field.text()).transpose();
    let id_field = fields.need("id")?;
    let id = id_field.text()?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if id.chars().count() > MOST_LETTERS || !id.chars().all(plain) {
        return Err(id_field.wrong(format!("is at most {MOST_LETTERS} letters, digits and any of `-_.`")));
    }
    let written = format!("{}:{}", source.name, source.line(id_field.at()));
    let statement = fields.need("statement")?.text()?;
    let by = optional(fields.take("source"))?.unwrap_or_else(|| said_by.to_owned());
    let place = optional(fields.take("where"))?.unwrap_or_default();
    let context = optional(fields.take("context"))?;
    let note = optional(fields.take("note"))?;
    let causes = match fields.take("causes") {
        Some(field) => field.items()?.iter().map(cause).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let cannot = optional(fields.take("not_testable"))?;
    let test = match cannot {
        // What is there is read all the same: it serves once it can be tested.
        Some(reason) if fields.has("figure") => test(&mut fields)?.and(Err(reason)),
        Some(reason) => Err(reason),
        None => test(&mut fields)?,
    };
    fields.end()?;
    Ok(Claim { id, statement, source: by, place, written, context, note, test, causes })
}

fn cause(field: &Field<'_, '_>) -> Result<SaidCause, Failure> {
    let mut table = field.table()?;
    let says = table.need("says")?.text()?;
    let shows = match (table.take("cause"), table.take("layer")) {
        (Some(name), None) => {
            let known: Vec<_> = CauseName::ALL.iter().map(|cause| (cause.name(), *cause)).collect();
            Shows::Cause(name.one_of(&known)?)
        }
        (None, Some(layer)) => Shows::Layer(self::layer(&layer)?),
        _ => return Err(table.wrong("has a `cause` or a `layer`, one of them")),
    };
    table.end()?;
    Ok(SaidCause { says, shows })
}

fn layer(field: &Field<'_, '_>) -> Result<Layer, Failure> {
    let known: Vec<_> = Layer::ALL.iter().map(|layer| (layer.name(), *layer)).collect();
    field.one_of(&known)
}

/// How a claim is tested; the inner error is why this build cannot.
fn test(fields: &mut Fields<'_, '_>) -> Result<Result<Test, String>, Failure> {
    let (cpus, later) = needs(fields.take("needs"))?;
    let figure = figure(fields)?;
    let machine = fields.take("machine").map(|field| machine(&field)).transpose()?;
    let clocks = [(Clock::Wall.name(), Clock::Wall), (Clock::Instructions.name(), Clock::Instructions)];
    let clock_field = fields.take("clock");
    let clock = clock_field.as_ref().map(|field| field.one_of(&clocks)).transpose()?;
    if let (Some(field), Some(RunsOn::Here), Some(Clock::Instructions)) = (&clock_field, machine, clock) {
        return Err(field.wrong("only emulated machines have a clock that counts instructions: leave `machine` out"));
    }
    let work = work(fields, &Work::default(), later.as_deref())?;
    let mode = fields.take("mode").map(|field| mode(&field)).transpose()?;
    let cell = mode.map(|mode| Cell { mode, work: work.clone() });
    let sides = Sides {
        against: fields.take("against").map(|field| side(&field, cell.as_ref(), later.as_deref())).transpose()?,
        than: fields.take("than"),
        cell,
    };
    let claimed = expect(&fields.need("expect")?, sides, &work, later.as_deref(), fields)?;
    let missing = later.filter(|name| Workload::find(name).is_none());
    if let Some(name) = missing {
        return Ok(Err(format!("this build has no workload `{name}`")));
    }
    Ok(Ok(Test { figure, claimed, cpus, machine, clock }))
}

fn needs(field: Option<Field<'_, '_>>) -> Result<(Option<u32>, Option<String>), Failure> {
    let Some(field) = field else { return Ok((None, None)) };
    let mut table = field.table()?;
    let cpus = table.take("cpus");
    let count = cpus.as_ref().map(Field::positive).transpose()?;
    if let (Some(field), Some(count)) = (&cpus, count)
        && (count.fract() != 0.0 || count > 4096.0)
    {
        return Err(field.wrong("is a whole number of CPUs"));
    }
    let workload = table.take("workload").map(|field| field.text()).transpose()?;
    table.end()?;
    Ok((count.map(|count| count as u32), workload))
}

fn figure(fields: &mut Fields<'_, '_>) -> Result<Figure, Failure> {
    let field = fields.need("figure")?;
    let text = field.text()?;
    let Some(mut figure) = Figure::find(&text) else {
        let known = names().collect::<Vec<_>>().join(", ");
        return Err(field.wrong(format!("`{text}` is not known; known: {known}")));
    };
    match (fields.take("layer"), figure.needs_layer()) {
        (Some(of), true) => figure.layer = Some(layer(&of)?),
        (None, false) => {}
        (None, true) => return Err(field.wrong(format!("`{text}` is of a layer: give `layer`, too"))),
        (Some(of), false) => return Err(of.wrong(format!("`{text}` is not of a layer"))),
    }
    Ok(figure)
}

fn machine(field: &Field<'_, '_>) -> Result<RunsOn, Failure> {
    choices::parse_runs_on(&field.text()?).map_err(|what| field.wrong(what))
}

fn mode(field: &Field<'_, '_>) -> Result<&'static str, Failure> {
    modes::find(&field.text()?).map(|mode| mode.name).map_err(|error| field.wrong(format!("{error:#}")))
}

/// The options of a table, over those that hold without them. `later`: a workload that this build need not have.
fn work(fields: &mut Fields<'_, '_>, over: &Work, later: Option<&str>) -> Result<Work, Failure> {
    let mut work = over.clone();
    let mut last = None;
    for name in OPTIONS {
        let Some(field) = fields.take(name) else { continue };
        match option(name, &field)? {
            Some(value) => work.0.insert(name, value),
            None => work.0.remove(name),
        };
        last = Some(field);
    }
    let unknown = work.get("workload").is_some_and(|name| Workload::find(name).is_none() && later == Some(name));
    let Some(field) = last.filter(|_| !unknown) else { return Ok(work) };
    let args = args(&work).map_err(|what| field.wrong(what))?;
    match programs::find(&args).map_err(|error| (error.downcast_ref().is_some_and(is_usage), format!("{error:#}"))) {
        Err((true, what)) => Err(field.wrong(what)),
        // What is not installed here may be elsewhere.
        _ => Ok(work),
    }
}

fn is_usage(failure: &Failure) -> bool {
    matches!(failure, Failure::Usage(_))
}

/// An option's value as `lab run` takes it; none where it is as without the option, so that two ways to say so are one run.
fn option(name: &'static str, field: &Field<'_, '_>) -> Result<Option<String>, Failure> {
    let word = field.word()?;
    let without = match name {
        "workload" => false,
        "pairs" => word == "1",
        _ => word == "none",
    };
    if without {
        return Ok(None);
    }
    let single = Work([(name, word.clone())].into());
    let args = args(&single).map_err(|what| field.wrong(what))?;
    match name {
        "size" if args.size.len() != 1 => Err(field.wrong("is one size; growth over sizes has `points`")),
        "size" => Ok(Some(args.size[0].to_string())),
        _ => Ok(Some(word)),
    }
}

/// The arguments of `lab run` for a work; what is wrong with it in a sentence.
pub fn args(work: &Work) -> Result<LabRunArgs, String> {
    let words = ["netstrata", "lab", "run", "host"].map(str::to_owned).into_iter().chain(work.words());
    match Cli::try_parse_from(words) {
        Ok(Cli { command: Command::Lab { command: LabCommand::Run(args) }, .. }) => Ok(args),
        Ok(_) => Err("is no option of `lab run`".into()),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(first.strip_prefix("error: ").unwrap_or(first).to_owned())
        }
    }
}

/// Another cell: a mode, or a table of what differs.
fn side(field: &Field<'_, '_>, over: Option<&Cell>, later: Option<&str>) -> Result<Cell, Failure> {
    let over = over.ok_or_else(|| field.wrong("needs a `mode` that it is compared with"))?;
    let cell = if field.is_table() {
        let mut table = field.table()?;
        let mode = table.take("mode").map(|field| self::mode(&field)).transpose()?.unwrap_or(over.mode);
        let work = work(&mut table, &over.work, later)?;
        table.end()?;
        Cell { mode, work }
    } else {
        Cell { mode: mode(field)?, work: over.work.clone() }
    };
    if cell == *over { Err(field.wrong("differs in nothing from what it is compared with")) } else { Ok(cell) }
}

/// What a claim compares.
struct Sides<'a, 'i> {
    cell: Option<Cell>,
    against: Option<Cell>,
    than: Option<Field<'a, 'i>>,
}

impl Sides<'_, '_> {
    /// The cells that are multiplied and divided.
    fn of(&self, expect: &Field<'_, '_>, later: Option<&str>) -> Result<Vec<(Cell, f64)>, Failure> {
        let cell = self.cell.clone().ok_or_else(|| expect.wrong("needs a `mode`"))?;
        let mut of = vec![(cell, 1.0)];
        of.extend(self.against.clone().map(|cell| (cell, -1.0)));
        if let Some(than) = &self.than {
            if of.len() == 1 {
                return Err(than.wrong("compares two ratios: give `against`, too"));
            }
            let others = of.iter().map(|(cell, sign)| Ok((side(than, Some(cell), later)?, -sign)));
            let others: Vec<(Cell, f64)> = others.collect::<Result<_, Failure>>()?;
            of.extend(others);
        }
        Ok(of)
    }
}

fn expect(
    field: &Field<'_, '_>,
    sides: Sides<'_, '_>,
    work: &Work,
    later: Option<&str>,
    claim: &Fields<'_, '_>,
) -> Result<Claimed, Failure> {
    let mut table = field.table()?;
    let within = table.take("within").map(|field| part(&field)).transpose()?;
    let (ratio, equal, direction) = (table.take("ratio"), table.take("equal"), table.take("direction"));
    let (least, most) = (table.take("at_least"), table.take("at_most"));
    let (order, growth) = (table.take("order"), table.take("growth"));
    let (over, points, factor) = (table.take("over"), table.take("points"), table.take("factor"));
    let kinds = [&ratio, &equal, &direction, &order, &growth].iter().filter(|kind| kind.is_some()).count();
    let bounded = least.is_some() || most.is_some();
    if kinds + usize::from(bounded) != 1 {
        return Err(table.wrong("has one of: ratio, equal, direction, at_least and at_most, order, growth"));
    }
    table.end()?;
    if let Some(stray) = [&over, &points, &factor].into_iter().flatten().next().filter(|_| growth.is_none()) {
        return Err(stray.wrong("belongs to `growth`"));
    }
    if let Some(order) = order {
        let modes = order.items()?.iter().map(mode).collect::<Result<Vec<_>, _>>()?;
        let twice = modes.iter().enumerate().any(|(at, mode)| modes[..at].contains(mode));
        if modes.len() < 2 || twice || sides.cell.is_some() {
            return Err(
                order.wrong("is at least two modes, the largest first, each once, and takes the place of `mode`")
            );
        }
        return Ok(Claimed::Order(modes.into_iter().map(|mode| Cell { mode, work: work.clone() }).collect()));
    }
    if let Some(growth) = growth {
        let cell = sides.cell.ok_or_else(|| growth.wrong("needs a `mode`"))?;
        if sides.against.is_some() || sides.than.is_some() {
            return Err(growth.wrong("is of one mode, `against` none"));
        }
        return self::growth(&growth, [over, points, factor], within, &cell, later);
    }
    let of = sides.of(field, later)?;
    let is = match (ratio, equal, direction) {
        (Some(ratio), ..) => Bound::About { ratio: not_one(&ratio)?, within: within.unwrap_or(WITHIN) },
        (_, Some(equal), _) => Bound::Equal(part(&equal)?),
        (.., Some(direction)) => direction.one_of(&[("more", Bound::More), ("less", Bound::Less)])?,
        _ => {
            let [least, most] = [least, most].map(|field| field.map(|field| field.positive()).transpose());
            let (least, most) = (least?, most?);
            if least.zip(most).is_some_and(|(least, most)| least > most) {
                return Err(field.wrong("`at_least` lies above `at_most`"));
            }
            Bound::Between(least, most)
        }
    };
    if of.len() == 1 && !bounded {
        return Err(claim.wrong("a ratio needs `against`: a mode, or a table of what differs"));
    }
    Ok(Claimed::Value { of, is })
}

/// A ratio that has a side: 1 has none, and what is claimed of it is how far from it a value may lie.
fn not_one(field: &Field<'_, '_>) -> Result<f64, Failure> {
    match field.positive()? {
        1.0 => Err(field.wrong(
            "1 has no side on which a value could lie: say within which part it is the same, like `equal = 0.05`",
        )),
        ratio => Ok(ratio),
    }
}

/// A part, above 0 and up to 4.
fn part(field: &Field<'_, '_>) -> Result<f64, Failure> {
    let part = field.positive()?;
    if part > 4.0 { Err(field.wrong("is a part, like 0.25")) } else { Ok(part) }
}

fn growth(
    field: &Field<'_, '_>,
    [over, points, factor]: [Option<Field<'_, '_>>; 3],
    within: Option<f64>,
    cell: &Cell,
    later: Option<&str>,
) -> Result<Claimed, Failure> {
    let (Some(over), Some(points)) = (over, points) else {
        return Err(field.wrong("needs `over`, an option like \"pairs\", and its `points`"));
    };
    let known: Vec<(&str, &'static str)> = OPTIONS.iter().map(|name| (*name, *name)).collect();
    let over = over.one_of(&known)?;
    let mut cells = Vec::new();
    for point in points.items()? {
        let mut work = cell.work.clone();
        match option(over, &point)? {
            Some(value) => work.0.insert(over, value),
            None => work.0.remove(over),
        };
        let known = work.get("workload").is_none_or(|name| later != Some(name) || Workload::find(name).is_some());
        if known {
            let args = args(&work).map_err(|what| point.wrong(what))?;
            if let Err(error) = programs::find(&args)
                && error.downcast_ref().is_some_and(is_usage)
            {
                return Err(point.wrong(format!("{error:#}")));
            }
        }
        cells.push(Cell { mode: cell.mode, work });
    }
    if cells.len() < 2 {
        return Err(points.wrong("are at least two"));
    }
    if cells.iter().enumerate().any(|(at, cell)| cells[..at].contains(cell)) {
        return Err(points.wrong("has one of them twice"));
    }
    let is = field.one_of(&[
        ("up", Bound::More),
        ("down", Bound::Less),
        ("flat", Bound::Equal(within.unwrap_or(WITHIN))),
    ])?;
    let is = match (factor, is) {
        (Some(factor), Bound::Equal(_)) => return Err(factor.wrong("what is flat has no factor")),
        (Some(factor), _) => Bound::About { ratio: not_one(&factor)?, within: within.unwrap_or(WITHIN) },
        (None, is) => is,
    };
    Ok(Claimed::Growth { over, cells, is })
}
