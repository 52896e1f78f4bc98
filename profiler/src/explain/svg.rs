//! The waterfall as a picture, drawn with plotters. The same account gives the same bytes.

use anyhow::{Result, anyhow};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Explanation, Figure, Of, WorkKind, text::rate};
use crate::choices::Clock;

const SIZE: (u32, u32) = (1200, 700);
/// Left of the bars: names; right of them: values.
const LEFT: i32 = 290;
const RIGHT: i32 = 1060;
const TOP: i32 = 96;
const BOTTOM: i32 = 640;
/// How strong the colour is of a step that cannot be told from nothing.
const PALE: f64 = 0.35;
/// Steps that are drawn one by one; the others are drawn as one.
const STEPS: usize = 18;

const INK: RGBColor = RGBColor(27, 31, 36);
const FAINT: RGBColor = RGBColor(90, 100, 112);
const GRID: RGBColor = RGBColor(225, 229, 234);
const MORE: RGBColor = RGBColor(196, 62, 47);
const LESS: RGBColor = RGBColor(43, 131, 86);
const TOTAL: RGBColor = RGBColor(58, 94, 152);
const REST: RGBColor = RGBColor(176, 182, 190);

/// A bar of the picture.
struct Bar {
    name: String,
    value: String,
    from: i64,
    to: i64,
    colour: RGBColor,
    hatched: bool,
    /// Half of the step's interval, where it is known.
    half: Option<f64>,
}

impl Bar {
    /// Whether it is a step that cannot be told from nothing.
    fn is_pale(&self) -> bool {
        self.half.is_some_and(|half| (self.to - self.from).unsigned_abs() as f64 <= half)
    }
}

fn unit(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => "us",
        WorkKind::Stream => "ns/B",
    }
}

fn digits(kind: WorkKind, value: i64) -> String {
    match kind {
        WorkKind::RequestResponse | WorkKind::Saturated => format!("{:.2}", value as f64 / 1e3),
        WorkKind::Stream => format!("{:.4}", ((value as f64 / 100.0).round() + 0.0) / 1e4),
    }
}

fn number(kind: WorkKind, value: i64) -> String {
    format!("{} {}", digits(kind, value), unit(kind))
}

fn signed(kind: WorkKind, value: i64) -> String {
    format!("{}{}", if value > 0 { "+" } else { "" }, digits(kind, value))
}

fn bars(found: &Explanation) -> Vec<Bar> {
    let (kind, fall) = (found.kind, &found.waterfall);
    let total = |name: String, value: i64| Bar {
        name,
        value: number(kind, value),
        from: 0,
        to: value,
        colour: TOTAL,
        hatched: false,
        half: None,
    };
    let rows = found.shown();
    let mut order: Vec<usize> = (0..rows.len()).filter(|index| rows[*index].delta() != 0).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(rows[*index].delta().unsigned_abs()), *index));
    let (shown, small) = order.split_at(order.len().min(if order.len() > STEPS { STEPS - 1 } else { STEPS }));
    let mut shown = shown.to_vec();
    shown.sort_unstable();
    let mut bars = vec![total(found.baseline.label.clone(), fall.baseline)];
    let mut at = fall.baseline;
    let mut step = |name: String, delta: i64, rest: bool, figure: Option<Figure>| {
        let colour = match delta {
            _ if rest => REST,
            delta if delta > 0 => MORE,
            _ => LESS,
        };
        let half = figure.and_then(|figure| found.sure.half(&figure));
        let sure = half.map_or(String::new(), |half| format!(" ±{}", digits(kind, half.round() as i64)));
        let value = format!("{}{sure} {}", signed(kind, delta), unit(kind));
        bars.push(Bar { name, value, from: at, to: at + delta, colour, hatched: rest, half });
        at += delta;
    };
    for row in shown.iter().map(|index| &rows[*index]) {
        let of_kind = match row.slots[0].kind() {
            "" | "cpu" => String::new(),
            kind => format!(" ({kind})"),
        };
        step(
            format!("{}{of_kind}", found.name(row)),
            row.delta(),
            !row.slots[0].is_explained(),
            Some(row.figure(Of::Change)),
        );
    }
    if !small.is_empty() {
        step(
            format!("{} smaller rows", small.len()),
            small.iter().map(|index| rows[*index].delta()).sum(),
            false,
            None,
        );
    }
    step(fall.remainder.name.into(), fall.remainder.delta(), true, Some(Figure::Remainder(Of::Change)));
    bars.push(total(found.target.label.clone(), fall.target));
    bars
}

/// Limits of the axis; it begins at zero unless the steps would be too small to see.
fn limits(bars: &[Bar]) -> (f64, f64) {
    let steps = bars.iter().skip(1).take(bars.len().saturating_sub(2));
    let ends = || steps.clone().flat_map(|bar| [bar.from, bar.to]).chain(bars.iter().map(|bar| bar.to));
    let (low, high) = (ends().min().unwrap_or(0) as f64, ends().max().unwrap_or(1).max(1) as f64);
    let spread = (high - low).max(high * 1e-3);
    if low <= 0.0 || spread >= 0.25 * high {
        (low.min(0.0) * 1.05, high * 1.02)
    } else {
        ((low - 0.5 * spread).max(0.0), high + 0.06 * spread)
    }
}

/// A round step that divides a range into about eight.
fn tick(range: f64) -> f64 {
    let raw = range / 8.0;
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw).unwrap_or(raw)
}

/// Draws an account.
///
/// # Errors
/// If the backend refuses to draw.
pub(super) fn render(found: &Explanation) -> Result<String> {
    let mut out = String::new();
    draw(found, &mut out).map_err(|error| anyhow!("cannot draw the waterfall: {error}"))?;
    out.push('\n');
    Ok(out)
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// What is shown, and what was measured and predicted of it.
fn rates(found: &Explanation) -> String {
    let what = match found.kind {
        WorkKind::RequestResponse => "time of one transaction",
        WorkKind::Saturated => "wall time per transaction at the full station",
        WorkKind::Stream => "wall time per byte at the busiest station",
    };
    let unit = if found.clock == Clock::Instructions { " in guest time that counts instructions" } else { "" };
    format!(
        "{what}{unit}; measured {} and {}; layers predict {}",
        rate(found.kind, found.baseline.measured, None),
        rate(found.kind, found.target.measured, None),
        rate(found.kind, found.target.predicted_from_baseline, found.sure.half(&Figure::FromBaseline))
    )
}

/// How much of the difference the layers answer for.
fn verdict(found: &Explanation) -> String {
    match found.explained_share {
        Some(share) => format!("layers answer for {} of the difference", found.percent(share)),
        None if found.no_difference => "the two do not differ measurably (less than 2 %)".into(),
        None => "nothing was measured on both sides".into(),
    }
}

fn draw(found: &Explanation, out: &mut String) -> Drawn {
    let area = SVGBackend::with_string(out, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let write = |text: &str, at: (i32, i32), size: f64, colour: &RGBColor, side: HPos| {
        write(&area, text, at, size, (colour, side))
    };
    let bars = bars(found);
    let (low, high) = limits(&bars);
    let across = |value: f64| LEFT + ((value - low) / (high - low) * f64::from(RIGHT - LEFT)).round() as i32;

    let title = format!("{} against {}: where the time goes", short(&found.target.label), short(&found.baseline.label));
    write(&title, (24, 26), 19.0, &INK, HPos::Left)?;
    write(&rates(found), (24, 50), 13.0, &FAINT, HPos::Left)?;
    write(&verdict(found), (24, 70), 13.0, &FAINT, HPos::Left)?;

    let step = tick(high - low);
    let mut value = (low / step).ceil() * step;
    while value <= high {
        let x = across(value);
        area.draw(&PathElement::new(vec![(x, TOP), (x, BOTTOM)], GRID))?;
        write(&number(found.kind, value.round() as i64), (x, BOTTOM + 13), 11.0, &FAINT, HPos::Center)?;
        value += step;
    }
    if low > 0.0 {
        write("the axis does not begin at zero", (24, BOTTOM + 31), 11.0, &FAINT, HPos::Left)?;
    }

    let pitch = f64::from(BOTTOM - TOP) / bars.len().max(1) as f64;
    let height = (pitch * 0.66).min(30.0);
    let middle = |index: usize| f64::from(TOP) + pitch * (index as f64 + 0.5);
    for (index, bar) in bars.iter().enumerate() {
        let y = middle(index);
        let (top, bottom) = ((y - height / 2.0).round() as i32, (y + height / 2.0).round() as i32);
        let start = if bar.colour == TOTAL { bar.from.max(low.ceil() as i64) } else { bar.from };
        let ends = [across(start as f64), across(bar.to as f64)];
        let (left, right) = (ends[0].min(ends[1]), ends[0].max(ends[1]).max(ends[0].min(ends[1]) + 1));
        let strength = if bar.is_pale() { PALE } else { 1.0 };
        area.draw(&Rectangle::new([(left, top), (right, bottom)], bar.colour.mix(strength).filled()))?;
        if bar.hatched {
            hatch(&area, (left, top), (right, bottom))?;
        }
        if let Some(half) = bar.half {
            let ends = [-half, half].map(|by| bar.to as f64 + by);
            let ends = ends.map(|end| (across(end.clamp(low, high)), (low..=high).contains(&end)));
            whisker(&area, ends, y as i32, (height / 4.0) as i32)?;
        }
        if index + 1 < bars.len() {
            let x = across(bar.to as f64);
            let next = (middle(index + 1) - height / 2.0).round() as i32;
            area.draw(&PathElement::new(vec![(x, bottom), (x, next)], FAINT))?;
        }
        write(&short(&bar.name), (LEFT - 10, y as i32), 12.5, &INK, HPos::Right)?;
        write(&bar.value, (RIGHT + 10, y as i32), 12.5, &bar_ink(bar), HPos::Left)?;
    }

    legend(&area)?;
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: f64, (colour, side): (&RGBColor, HPos)) -> Drawn {
    let font = ("DejaVu Sans, Verdana, sans-serif", size).into_font();
    area.draw(&Text::new(text.to_owned(), at, font.color(colour).pos(Pos::new(side, VPos::Center))))?;
    Ok(())
}

fn legend(area: &Area<'_>) -> Drawn {
    let write = |text: &str, at: (i32, i32)| write(area, text, at, 12.0, (&INK, HPos::Left));
    let legend = [("slower", MORE, false), ("faster", LESS, false), ("no layer answers for it", REST, true)];
    write("pale: cannot be told from nothing; whiskers: 95 %", (LEFT, 671))?;
    let mut x = 640;
    for (name, colour, hatched) in legend {
        area.draw(&Rectangle::new([(x, 664), (x + 14, 678)], colour.filled()))?;
        if hatched {
            hatch(area, (x, 664), (x + 14, 678))?;
        }
        write(name, (x + 20, 671))?;
        x += 110;
    }
    Ok(())
}

/// The interval of a step, around its end. An end that lies in the picture has a cap.
fn whisker(area: &Area<'_>, ends: [(i32, bool); 2], y: i32, cap: i32) -> Drawn {
    area.draw(&PathElement::new(ends.map(|(x, _)| (x, y)).to_vec(), INK))?;
    for (x, _) in ends.into_iter().filter(|(_, inside)| *inside) {
        area.draw(&PathElement::new(vec![(x, y - cap), (x, y + cap)], INK))?;
    }
    Ok(())
}

fn bar_ink(bar: &Bar) -> RGBColor {
    if bar.colour == REST { FAINT } else { bar.colour }
}

fn short(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(39).chain(['…']).collect() }
}

/// Diagonal lines over a rectangle.
fn hatch(area: &Area<'_>, (left, top): (i32, i32), (right, bottom): (i32, i32)) -> Drawn {
    let height = bottom - top;
    let mut start = left - height;
    while start < right {
        // The line from (start, bottom) up to (start + height, top), cut at the sides.
        let (x0, x1) = (start.max(left), (start + height).min(right));
        if x0 < x1 {
            let line = vec![(x0, bottom - (x0 - start)), (x1, bottom - (x1 - start))];
            area.draw(&PathElement::new(line, WHITE.stroke_width(1)))?;
        }
        start += 6;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, testdata::*};

    #[test]
    fn the_picture_shows_both_ends_and_every_large_step() {
        let found =
            explain(&rr(1, 100_000.0), &rr(3, 80_000.0), &["a<b".into(), "slow".into()]).expect("the test has it");
        let text = render(&found).expect("the test has it");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for part in ["backlog (wait)", "remainder", "slow", "a&lt;b", "+2.00"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("a<b"));
    }

    #[test]
    fn bars_hang_together() {
        let found = explain(&stream(&[(1, TCP, 900)]), &stream(&[(1, TCP, 500), (1, BRIDGE, 100)]), &labels())
            .expect("the test has it");
        let bars = bars(&found);
        for pair in bars[1..].windows(2).take(bars.len().saturating_sub(3)) {
            assert_eq!(pair[0].to, pair[1].from);
        }
        assert_eq!(bars[bars.len() - 2].to, found.waterfall.target);
    }

    #[test]
    fn ticks_are_round_and_the_axis_begins_at_zero_where_it_can() {
        assert_eq!(tick(80.0), 10.0);
        assert_eq!(tick(9.0), 2.0);
        let found = explain(&rr(1, 100_000.0), &rr(3, 50_000.0), &labels()).expect("the test has it");
        assert_eq!(limits(&bars(&found)).0, 0.0);
        let near = explain(&rr(1, 20_000.0), &rr(2, 19_990.0), &labels()).expect("the test has it");
        assert!(limits(&bars(&near)).0 > 0.0);
    }
}
