//! The line editor of the prompt: history, several lines, completion.

use std::borrow::Cow;
use std::path::PathBuf;

use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, ValidationResult,
    Validator, default_emacs_keybindings,
};

use super::complete::{Names, Words};
use super::ended::ended;
use crate::report::note;

const MENU: &str = "completion";
const HISTORY_LINES: usize = 5000;

/// A line editor that keeps its history in `history`, if that can be written.
pub(super) fn editor(history: Option<PathBuf>, names: Names) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
    let menu = Box::new(ColumnarMenu::default().with_name(MENU));
    let editor = Reedline::create()
        .with_validator(Box::new(Whole))
        .with_completer(Box::new(Words { names }))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(menu))
        .with_edit_mode(Box::new(Emacs::new(keys)));
    let Some(file) = history else { return editor };
    match FileBackedHistory::with_file(HISTORY_LINES, file.clone()) {
        Ok(history) => editor.with_history(Box::new(history)),
        Err(error) => {
            note(&format!("note: no history: cannot use {}: {error}", file.display()));
            editor
        }
    }
}

struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if ended(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// `dunlin> `, and as many blanks before further lines.
pub(super) struct Sign;

impl Prompt for Sign {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "dunlin".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "     -> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!(" (search: {}) ", search.term).into()
    }
}
