//! What is on the wire: names, questions, answers.

pub mod answer;
pub mod name;
pub mod query;
pub mod record;
