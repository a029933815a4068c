//! `--format`: a row as JSON, as chosen columns, or through a template of Docker's kind.

use super::table::Table;
use qiao_core::Refusal;
use qiao_core::name::quoted;
use serde_json::Value;

/// Rows through a format: `json`, `table COLUMN…`, or a template with `{{.Field}}` and `{{json .Field}}`.
pub fn rows(format: &str, rows: &[Value]) -> Result<String, Refusal> {
    if format == "json" {
        return Ok(rows.iter().map(|row| format!("{row}\n")).collect());
    }
    if let Some(columns) = format.strip_prefix("table ") {
        return table(columns, rows);
    }
    rows.iter().map(|row| template(format, row).map(|line| line + "\n")).collect()
}

/// Columns may be words or templates, with spaces or tabs between.
fn table(columns: &str, rows: &[Value]) -> Result<String, Refusal> {
    let columns = unescape(columns).replace("{{", " ").replace("}}", " ");
    let names: Vec<&str> = columns.split_whitespace().map(|column| column.trim_start_matches('.')).collect();
    let heads: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        let cells: Result<Vec<_>, _> = names.iter().map(|name| field(row, name).map(plain)).collect();
        table.row(cells?);
    }
    Ok(table.text())
}

/// One value through a template.
pub fn template(format: &str, value: &Value) -> Result<String, Refusal> {
    let (mut text, mut rest) = (String::new(), format);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((word, tail)) = after.split_once("}}") else {
            return Err(Refusal::invalid(format!(
                "the template {} has `{{{{` without `}}}}`",
                quoted(format)
            )));
        };
        text += before;
        text += &expand(word.trim(), value)?;
        rest = tail;
    }
    Ok(unescape(&(text + rest)))
}

fn expand(word: &str, value: &Value) -> Result<String, Refusal> {
    match word.strip_prefix("json ").map(str::trim) {
        Some(".") => Ok(value.to_string()),
        Some(path) => field(value, path.trim_start_matches('.')).map(Value::to_string),
        None => field(value, word.trim_start_matches('.')).map(plain),
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// A field by its path, whatever its case: `IPAM.Driver`.
fn field<'v>(value: &'v Value, path: &str) -> Result<&'v Value, Refusal> {
    let mut at = value;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let fields = at.as_object();
        let found = fields.and_then(|o| o.iter().find(|(key, _)| key.eq_ignore_ascii_case(part)));
        at = found.map(|(_, value)| value).ok_or_else(|| {
            let known = fields.map(|o| o.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default();
            Refusal::invalid(format!("there is no field {}", quoted(part))).why(format!("there are {known}"))
        })?;
    }
    Ok(at)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_dockers() {
        let row = json!({"Name": "front", "IPAM": {"Driver": "default"}, "Labels": {"a": "b"}});
        assert_eq!(template("{{.Name}}\\t{{ .IPAM.Driver }}", &row).unwrap(), "front\tdefault");
        assert_eq!(template("{{json .Labels}}", &row).unwrap(), "{\"a\":\"b\"}");
        assert!(template("{{.Colour}}", &row).is_err() && template("{{.Name", &row).is_err());
        assert_eq!(rows("table NAME", std::slice::from_ref(&row)).unwrap(), "NAME\nfront\n");
        let habit = rows("table {{.Name}}\\t{{ .IPAM.Driver }}", &[row]);
        assert_eq!(habit.unwrap(), "NAME   IPAM.DRIVER\nfront  default\n");
    }
}
