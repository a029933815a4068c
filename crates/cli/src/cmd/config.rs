//! `qiao config …`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Config;
use crate::output::{line, note, print};
use crate::settings;
use qiao_core::settings::Settings;
use serde_json::json;

/// Carries out a command on the settings.
pub fn run(app: &App, command: &Config) -> Done {
    match command {
        Config::Show => show(app, &app.settings()?)?,
        Config::Check => {
            app.settings()?;
            let file = app.global.config.as_deref().unwrap_or(settings::FILE);
            if app.global.json {
                line(json!({"schema": "qiao.config-check/1", "file": file, "ok": true}));
            } else {
                line(format!("the settings in {file} make sense"));
            }
        }
        Config::Import { file } => {
            let imported = settings::import(file)?;
            imported.ignored.iter().for_each(|key| note(format!("not taken: `{key}`")));
            show(app, &imported.settings)?;
        }
    }
    Ok(OK)
}

fn show(app: &App, settings: &Settings) -> Result<(), qiao_core::Refusal> {
    if app.global.json {
        line(json!({"schema": "qiao.settings/1", "settings": settings}));
    } else {
        print(&settings::to_toml(settings)?);
    }
    Ok(())
}
