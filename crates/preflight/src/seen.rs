//! What the DNS says to all questions, each asked once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use zonecert_resolver::{Answer, PROBE_TIMEOUT, RecordType, Resolver};

use crate::LONGEST;
use crate::finding::Sight;

/// Questions that are under way at the same time.
const AT_ONCE: usize = 32;

/// The most that is asked for one certificate: 100 names at several depths have fewer.
pub(crate) const MOST_QUESTIONS: usize = 600;

/// Patience with all of them. With what follows, the sign of life of a resolver that leaves something unanswered, it stays below
/// [`LONGEST`].
const PATIENCE: Duration = Duration::from_secs(8);
const _: () = assert!(PATIENCE.as_millis() + PROBE_TIMEOUT.as_millis() < LONGEST.as_millis());

/// A name, and what is asked for there.
pub(crate) type Question = (String, RecordType);

/// What a question that was never asked has for an answer.
static NOT_ASKED: Answer = Answer::Unreachable(String::new());

/// The answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    answers: HashMap<Question, Answer>,
    /// How many questions there was no time for.
    left_out: usize,
    server: String,
}

impl Seen {
    pub(crate) async fn ask(resolver: &Resolver, questions: impl IntoIterator<Item = Question>) -> Self {
        let mut known = BTreeSet::new();
        let questions: Vec<Question> = questions.into_iter().filter(|question| known.insert(question.clone())).collect();
        let all = questions.len();
        let answers = Mutex::new(HashMap::new());
        let note = |question: &Question, answer: Answer| {
            answers.lock().unwrap_or_else(PoisonError::into_inner).insert(question.clone(), answer);
        };
        let asking = stream::iter(questions.into_iter().take(MOST_QUESTIONS)).for_each_concurrent(AT_ONCE, |question| async move {
            // Stands if there is no answer in time.
            note(&question, Answer::TimedOut);
            note(&question, resolver.look_up(&question.0, question.1).await);
        });
        let in_time = tokio::time::timeout(PATIENCE, asking).await.is_ok();
        let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !in_time && !resolver.is_alive().await {
            for answer in answers.values_mut().filter(|answer| **answer == Answer::TimedOut) {
                *answer = Answer::Unreachable("no answer to anything".to_owned());
            }
        }
        Self { left_out: all - answers.len(), answers, server: resolver.servers().to_owned() }
    }

    /// What stands at the name. What was not asked is like what the resolver could not be asked: nothing is known.
    pub(crate) fn at(&self, name: &str, kind: RecordType) -> &Answer {
        self.answers.get(&(name.to_owned(), kind)).unwrap_or(&NOT_ASKED)
    }

    /// How many questions there was no time for.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whom we asked for what, and what they said.
    pub(crate) fn sight(&self, name: &str, kind: RecordType) -> Sight {
        Sight { server: self.server.clone(), answer: self.at(name, kind).describe(name, kind) }
    }

    #[cfg(test)]
    pub(crate) fn of(answers: impl IntoIterator<Item = (&'static str, RecordType, Answer)>) -> Self {
        let answers = answers.into_iter().map(|(name, kind, answer)| ((name.to_owned(), kind), answer)).collect();
        Self { answers, left_out: 0, server: "192.0.2.53:53".to_owned() }
    }

    #[cfg(test)]
    pub(crate) fn without(self, left_out: usize) -> Self {
        Self { left_out, ..self }
    }
}

/// An answer that says that it could not be found out, in words; none for one that says what is there.
pub(crate) fn trouble(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Records(_) | Answer::NoSuchName(_) | Answer::NoRecords(_) => None,
        Answer::TimedOut => Some("no answer in time".to_owned()),
        Answer::Refused(word) => Some(format!("the answer {word}")),
        Answer::Unreachable(_) => Some("the resolver cannot be reached".to_owned()),
    }
}
