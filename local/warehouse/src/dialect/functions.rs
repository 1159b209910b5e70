//! The functions there are. What is not in this list is refused: the list is what keeps DuckDB's own functions away.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    NullTreatment, Value, WindowType,
};

use super::names;
use super::rewrite::{call, cast, function_name, part_of, raw, take};
use crate::error::SqlError;

/// Functions of the same name and meaning.
const SAME: [&str; 80] = [
    // Aggregates and windows.
    "any_value",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "max",
    "median",
    "min",
    "nth_value",
    "ntile",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "rank",
    "row_number",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "grouping",
    // Numbers.
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "cbrt",
    "ceil",
    "ceiling",
    "cos",
    "cot",
    "degrees",
    "exp",
    "floor",
    "greatest",
    "least",
    "ln",
    "log",
    "mod",
    "pi",
    "power",
    "radians",
    "random",
    "round",
    "sign",
    "sin",
    "sqrt",
    "tan",
    "trunc",
    // Texts.
    "ascii",
    "chr",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "strpos",
    "substr",
    "substring",
    "translate",
    "upper",
    // Others.
    "coalesce",
    "nullif",
];

/// Functions of another name and the same meaning.
const RENAMED: [(&str, &str); 16] = [
    ("btrim", "trim"),
    ("char_length", "length"),
    ("character_length", "length"),
    ("dexp", "exp"),
    ("dlog1", "ln"),
    ("dlog10", "log10"),
    ("dpow", "power"),
    ("dsqrt", "sqrt"),
    ("isnull", "coalesce"),
    ("len", "length"),
    ("nvl", "coalesce"),
    ("octet_length", "strlen"),
    ("pow", "power"),
    ("stddev", "stddev_samp"),
    ("textlen", "length"),
    ("variance", "var_samp"),
];

/// Functions that are written otherwise.
const OWN: [&str; 27] = [
    "add_months",
    "charindex",
    "concat",
    "convert_timezone",
    "current_date",
    "current_database",
    "current_schema",
    "current_timestamp",
    "current_user",
    "date_part",
    "date_trunc",
    "dateadd",
    "datediff",
    "date_diff",
    "date_add",
    "decode",
    "getdate",
    "json_extract_path_text",
    "last_day",
    "listagg",
    "nvl2",
    "ratio_to_report",
    "sysdate",
    "to_char",
    "to_date",
    "user",
    "version",
];

/// The wall clock, without a zone: UTC, like Redshift's.
const NOW: &str = "make_timestamp(epoch_us(now()))";

/// Refuses what is not listed, and forms that no function here has.
pub(super) fn judge(function: &mut Function) -> Result<(), SqlError> {
    let name = name_of(function)?;
    let known = SAME.contains(&name.as_str())
        || OWN.contains(&name.as_str())
        || RENAMED.iter().any(|(redshift, _)| *redshift == name);
    if !known {
        return Err(SqlError(format!("function {name} does not exist, or is not one the embedded warehouse has")));
    }
    if function.uses_odbc_syntax || function.filter.is_some() || function.parameters != FunctionArguments::None {
        return Err(SqlError(format!("This form of the function {name} is not supported")));
    }
    if matches!(&function.over, Some(WindowType::NamedWindow(_))) {
        return Err(SqlError::unsupported("a named window"));
    }
    match &function.args {
        FunctionArguments::None => Ok(()),
        FunctionArguments::Subquery(_) => Err(SqlError(format!("{name} takes no subquery"))),
        FunctionArguments::List(list) => {
            let clauses = list.clauses.iter().all(|c| matches!(c, FunctionArgumentClause::IgnoreOrRespectNulls(_)));
            let args = list.args.iter().all(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => true,
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => name == "count",
                _ => false,
            });
            if clauses && args {
                Ok(())
            } else {
                Err(SqlError(format!("This form of the function {name} is not supported")))
            }
        }
    }
}

fn name_of(function: &Function) -> Result<String, SqlError> {
    match function.name.0.as_slice() {
        [name] => names::checked(names::part(name)?),
        _ => Err(SqlError(format!("function {} does not exist", function.name))),
    }
}

/// The call for DuckDB, if it differs in more than the name.
pub(super) fn rewritten(function: &mut Function) -> Result<Option<Expr>, SqlError> {
    let name = name_of(function)?;
    nulls_inside(function);
    let renamed = RENAMED.iter().find(|(redshift, _)| *redshift == name).map(|(_, duck)| *duck);
    // Unquoted: to DuckDB some of them are words of the grammar.
    function.name = function_name(renamed.unwrap_or(&name));
    if !OWN.contains(&name.as_str()) {
        return Ok(None);
    }
    if name == "listagg" {
        return listagg(function).map(|()| None);
    }
    if name == "ratio_to_report" {
        return ratio_to_report(function).map(Some);
    }
    if function.over.is_some() || !function.within_group.is_empty() {
        return Err(SqlError(format!("{name} is not a window function")));
    }
    let args = arguments(function);
    own(&name, args).map(Some)
}

/// DuckDB wants IGNORE NULLS inside the parentheses.
fn nulls_inside(function: &mut Function) {
    let Some(treatment) = function.null_treatment.take() else { return };
    if let (NullTreatment::IgnoreNulls, FunctionArguments::List(list)) = (treatment, &mut function.args) {
        list.clauses.push(FunctionArgumentClause::IgnoreOrRespectNulls(treatment));
    }
}

fn arguments(function: &mut Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return Vec::new() };
    let taken = list.args.iter_mut().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(take(expr)),
        _ => None,
    });
    taken.collect()
}

fn own(name: &str, args: Vec<Expr>) -> Result<Expr, SqlError> {
    let n = args.len();
    let mut args = args.into_iter();
    let mut next = || args.next().ok_or_else(|| wrong_count(name, n));
    let expr = match (name, n) {
        ("getdate", 0) => raw(&format!("date_trunc('second', {NOW})")),
        ("sysdate" | "current_timestamp", 0) => raw(NOW),
        ("current_date", 0) => raw(&format!("CAST({NOW} AS DATE)")),
        ("current_user" | "user", 0) => raw("'awsuser'"),
        ("current_database", 0) => raw("'warehouse'"),
        ("current_schema", 0) => raw("'public'"),
        ("version", 0) => raw("'Redshift of the local cloud'"),
        ("date_trunc", 2) => {
            let field = literal_of(&next()?)?;
            // Of a date DuckDB makes a date; Redshift makes a timestamp.
            let from = cast(next()?, "TIMESTAMP");
            call("date_trunc", vec![raw(&format!("'{}'", date_part(&field)?)), from])
        }
        ("date_part", 2) => {
            let field = word_of(&next()?)?;
            part_of(&field, next()?)?
        }
        ("datediff" | "date_diff", 3) => {
            let field = word_of(&next()?)?;
            let (from, to) = (cast(next()?, "TIMESTAMP"), cast(next()?, "TIMESTAMP"));
            call("date_diff", vec![raw(&format!("'{}'", date_part(&field)?)), from, to])
        }
        ("dateadd" | "date_add", 3) => {
            let field = word_of(&next()?)?;
            let (amount, to) = (next()?, next()?);
            dateadd(&field, &amount, &to)?
        }
        ("add_months", 2) => {
            let (to, amount) = (next()?, next()?);
            dateadd("month", &amount, &to)?
        }
        ("last_day", 1) => call("last_day", vec![next()?]),
        ("concat", 2) => raw(&format!("({} || {})", next()?, next()?)),
        ("charindex", 2) => {
            let (part, whole) = (next()?, next()?);
            call("strpos", vec![whole, part])
        }
        ("nvl2", 3) => {
            let (tested, some, none) = (next()?, next()?, next()?);
            raw(&format!("CASE WHEN {tested} IS NOT NULL THEN {some} ELSE {none} END"))
        }
        ("decode", 3..) => decode(args.collect()),
        ("to_date", 2) => {
            let (text, format) = (next()?, strftime(&literal_of(&next()?)?)?);
            cast(call("strptime", vec![text, raw(&names::literal(&format))]), "DATE")
        }
        ("to_char", 2) => {
            let (time, format) = (next()?, strftime(&literal_of(&next()?)?)?);
            call("strftime", vec![cast(time, "TIMESTAMP"), raw(&names::literal(&format))])
        }
        ("json_extract_path_text", 2..) => {
            let json = next()?;
            json_path(json, args.collect())?
        }
        ("convert_timezone", _) => {
            return Err(SqlError::unsupported("CONVERT_TIMEZONE on the embedded warehouse, which knows UTC only,"));
        }
        _ => return Err(wrong_count(name, n)),
    };
    Ok(expr)
}

fn wrong_count(name: &str, n: usize) -> SqlError {
    SqlError(format!("function {name} with {n} arguments does not exist"))
}

/// A field of a date by one of its names.
pub(super) fn date_part(name: &str) -> Result<&'static str, SqlError> {
    Ok(match name.trim_matches(['"', '\'']).to_lowercase().as_str() {
        "millennium" | "millennia" | "mil" | "mils" => "millennium",
        "century" | "centuries" | "c" | "cent" | "cents" => "century",
        "decade" | "decades" | "dec" | "decs" => "decade",
        "year" | "years" | "y" | "yr" | "yrs" => "year",
        "quarter" | "quarters" | "qtr" | "qtrs" => "quarter",
        "month" | "months" | "mon" | "mons" => "month",
        "week" | "weeks" | "w" => "week",
        "day" | "days" | "d" => "day",
        "dayofweek" | "dow" | "dw" | "weekday" => "dow",
        "dayofyear" | "doy" | "dy" | "yearday" => "doy",
        "hour" | "hours" | "h" | "hr" | "hrs" => "hour",
        "minute" | "minutes" | "m" | "min" | "mins" => "minute",
        "second" | "seconds" | "s" | "sec" | "secs" => "second",
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => "milliseconds",
        "microsecond" | "microseconds" | "microsec" | "microsecs" | "usec" | "usecs" | "us" => "microseconds",
        "epoch" => "epoch",
        other => return Err(SqlError(format!("timestamp units \"{other}\" not recognized"))),
    })
}

fn dateadd(field: &str, amount: &Expr, to: &Expr) -> Result<Expr, SqlError> {
    let (of, times) = match date_part(field)? {
        "year" => ("to_years", 1),
        "quarter" => ("to_months", 3),
        "month" => ("to_months", 1),
        "week" => ("to_days", 7),
        "day" => ("to_days", 1),
        "hour" => ("to_hours", 1),
        "minute" => ("to_minutes", 1),
        "second" => ("to_seconds", 1),
        "milliseconds" => ("to_microseconds", 1_000),
        "microseconds" => ("to_microseconds", 1),
        other => return Err(SqlError(format!("DATEADD does not know {other}"))),
    };
    let whole = match of {
        "to_years" | "to_months" | "to_days" => "INTEGER",
        "to_seconds" => "DOUBLE",
        _ => "BIGINT",
    };
    // "interval: An integer": four bytes.
    Ok(raw(&format!(
        "(CAST({to} AS TIMESTAMP) + {of}(CAST(CAST(CAST({amount} AS INTEGER) AS BIGINT) * {times} AS {whole})))"
    )))
}

/// The text of a literal; rewritten ones are placeholders that hold it quoted.
fn literal_of(expr: &Expr) -> Result<String, SqlError> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) if text.starts_with('\'') => Ok(text[1..text.len() - 1].replace("''", "'")),
            _ => Err(SqlError::new("a literal is needed here")),
        },
        _ => Err(SqlError::new("a literal is needed here")),
    }
}

/// A field's name, as a word or as a literal.
fn word_of(expr: &Expr) -> Result<String, SqlError> {
    match expr {
        Expr::Identifier(ident) => Ok(ident.value.clone()),
        other => literal_of(other),
    }
}

fn decode(args: Vec<Expr>) -> Expr {
    let mut case = String::from("CASE");
    let (tested, rest) = (&args[0], &args[1..]);
    for pair in rest.chunks(2) {
        match pair {
            [value, result] => case.push_str(&format!(" WHEN {tested} IS NOT DISTINCT FROM {value} THEN {result}")),
            [default] => case.push_str(&format!(" ELSE {default}")),
            _ => {}
        }
    }
    case.push_str(" END");
    raw(&case)
}

/// Redshift's patterns for dates, as far as they are the usual ones.
fn strftime(format: &str) -> Result<String, SqlError> {
    const PATTERNS: [(&str, &str); 14] = [
        ("YYYY", "%Y"),
        ("MM", "%m"),
        ("DD", "%d"),
        ("HH24", "%H"),
        ("HH12", "%I"),
        ("HH", "%I"),
        ("MI", "%M"),
        ("SS", "%S"),
        ("MS", "%g"),
        ("US", "%f"),
        ("AM", "%p"),
        ("PM", "%p"),
        ("DDD", "%j"),
        ("Mon", "%b"),
    ];
    let (mut out, mut rest) = (String::new(), format);
    while let Some(first) = rest.chars().next() {
        let longest = PATTERNS.iter().filter(|(pattern, _)| rest.starts_with(pattern)).max_by_key(|(p, _)| p.len());
        if let Some((pattern, code)) = longest {
            out.push_str(code);
            rest = &rest[pattern.len()..];
            continue;
        }
        if first.is_alphabetic() && first != 'T' && first != 'Z' {
            return Err(SqlError::unsupported(&format!("the date format {format:?}")));
        }
        out.push(first);
        if first == '%' {
            out.push('%');
        }
        rest = &rest[first.len_utf8()..];
    }
    Ok(out)
}

fn json_path(json: Expr, path: Vec<Expr>) -> Result<Expr, SqlError> {
    let mut pointer = String::new();
    for step in &path {
        pointer.push('/');
        pointer.push_str(&literal_of(step)?.replace('~', "~0").replace('/', "~1"));
    }
    Ok(call("json_extract_string", vec![json, raw(&names::literal(&pointer))]))
}

/// `LISTAGG(x, ',') WITHIN GROUP (ORDER BY y)` is `string_agg(x, ',' ORDER BY y)`.
fn listagg(function: &mut Function) -> Result<(), SqlError> {
    let order = std::mem::take(&mut function.within_group);
    let FunctionArguments::List(list) = &mut function.args else { return Err(wrong_count("listagg", 0)) };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(_))] => {
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(raw("''"))));
        }
        [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(delimiter))] => drop(literal_of(delimiter)?),
        _ => return Err(wrong_count("listagg", list.args.len())),
    }
    if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of)), ..] = list.args.as_mut_slice() {
        *of = cast(take(of), "VARCHAR");
    }
    if !order.is_empty() {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    function.name = function_name("string_agg");
    Ok(())
}

/// A share of the window's sum.
fn ratio_to_report(function: &mut Function) -> Result<Expr, SqlError> {
    let over = function.over.take().ok_or_else(|| SqlError::new("ratio_to_report needs OVER"))?;
    let distinct = matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    let args = arguments(function);
    let [of] = args.as_slice() else { return Err(wrong_count("ratio_to_report", args.len())) };
    if distinct {
        return Err(SqlError::unsupported("DISTINCT in ratio_to_report"));
    }
    let WindowType::WindowSpec(spec) = over else { return Err(SqlError::unsupported("a named window")) };
    Ok(raw(&format!("(CAST({of} AS DOUBLE) / SUM({of}) OVER ({spec}))")))
}
