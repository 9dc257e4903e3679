//! What a search can find: one tool, as its definition describes it.

mod schema;

use std::{collections::HashMap, panic::resume_unwind, sync::Arc, thread::available_parallelism};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use vmcp_core::ranking::{Column, DocumentForm};

use self::schema::Parameters;
use crate::{
    embedding::unit::normalise,
    words::{Splitter, Word, split_name},
};

/// Bytes of each text that are indexed. A definition may be longer; its words are not worth more.
const MAX_INDEXED: usize = 32 << 10;
/// Characters of a description that become part of the text for embeddings.
const EMBEDDED_DESCRIPTION: usize = 1500;
/// Characters of parameter names, of their descriptions and of enum values in the part of a text that is about parameters.
const PART_NAMES: usize = 400;
const PART_DESCRIPTIONS: usize = 800;
const PART_VALUES: usize = 200;
/// Tools that are worth a thread.
const LEAST_PER_THREAD: usize = 256;
/// Part of every digest: counts up when the same definition is indexed by other words.
const INDEXED_AS: u8 = 1;

/// One tool with everything that it can be found by.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolDocument {
    advertised: Arc<str>,
    own_name: Arc<str>,
    server: Arc<str>,
    description: Box<str>,
    annotations: Box<str>,
    parameters: Parameters,
    digest: [u8; 32],
    /// Of the texts for embeddings in the standard form.
    text_digest: [u8; 32],
}

/// Texts whose vectors, each of length 1, are weighted and added up.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingTexts(Vec<(f32, String)>);

impl EmbeddingTexts {
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(_, text)| text)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sum of the texts' vectors, of length 1. Those without a vector add nothing.
    pub(crate) fn combine(&self, vectors: &[Vec<f32>]) -> Vec<f32> {
        if let [vector] = vectors {
            return vector.clone();
        }
        let mut sum = vec![0.0; vectors.iter().map(Vec::len).max().unwrap_or_default()];
        for ((weight, _), vector) in self.0.iter().zip(vectors) {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
        }
        normalise(&mut sum);
        sum
    }

    /// Under which the vector is kept: SHA-256 of the text; of several, of all of them with their weights.
    pub(crate) fn digest(&self) -> [u8; 32] {
        if let [(_, text)] = self.0.as_slice() {
            return Sha256::digest(text).into();
        }
        let mut hash = Sha256::new();
        for (weight, text) in &self.0 {
            hash.update(weight.to_le_bytes());
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

impl ToolDocument {
    /// Reads a tool's definition. What is missing or nonsense in it gives fewer words, never an error.
    ///
    /// - `advertised`: the name that clients see
    /// - `own_name`: its name before a conflict resolver changed it. The name column and the texts for embeddings hold this one; what
    ///   else `advertised` says (a prefix, as a rule) is found through the server column
    /// - `server`: the backend, or the part of the host, that it belongs to
    /// - `definition`: the JSON of the tool; `inputSchema` may also be called `input_schema`, as in files of tools
    pub fn new(advertised: &str, own_name: &str, server: &str, definition: &str) -> Self {
        let fields: HashMap<String, &RawValue> = serde_json::from_str(definition).unwrap_or_default();
        let field = |name: &str| fields.get(name).map_or("", |value| value.get());
        let schema =
            ["inputSchema", "input_schema"].into_iter().find_map(|name| fields.get(name)).map_or("", |s| s.get());
        let own_name: Arc<str> = own_name.into();
        let mut document = Self {
            advertised: if *own_name == *advertised { own_name.clone() } else { advertised.into() },
            own_name,
            server: server.into(),
            description: serde_json::from_str(field("description")).unwrap_or_default(),
            annotations: match field("annotations") {
                "null" => "".into(),
                annotations => annotations.into(),
            },
            parameters: Parameters::of(&serde_json::from_str(schema).unwrap_or_default()),
            digest: [0; 32],
            text_digest: [0; 32],
        };
        document.digest = document.compute_digest();
        document.text_digest = document.embedding_texts(DocumentForm::Standard).digest();
        document
    }

    /// Reads many tools, on all processors.
    pub fn read_all<T: Sync>(tools: &[T], read: impl Fn(&T) -> Self + Sync) -> Vec<Arc<Self>> {
        let threads = available_parallelism().map_or(1, usize::from);
        let read_some = |tools: &[T]| tools.iter().map(|tool| Arc::new(read(tool))).collect::<Vec<_>>();
        let chunk = tools.len().div_ceil(threads).max(LEAST_PER_THREAD);
        let (first, others) = tools.split_at(tools.len().min(chunk));
        std::thread::scope(|scope| {
            let others: Vec<_> = others.chunks(chunk).map(|chunk| scope.spawn(|| read_some(chunk))).collect();
            let mut documents = read_some(first);
            for other in others {
                documents.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            documents
        })
    }

    /// The name that clients see.
    pub fn name(&self) -> &str {
        &self.advertised
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.advertised.clone()
    }

    /// Its name before a conflict resolver changed it.
    pub fn own_name(&self) -> &str {
        &self.own_name
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// Empty when it has none.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// JSON text as the backend sent it; empty when there are none.
    pub fn annotations(&self) -> &str {
        &self.annotations
    }

    /// Of everything that is indexed or shown.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Under which the vector of [`embedding_texts`](Self::embedding_texts) is kept.
    pub(crate) fn text_digest(&self, form: DocumentForm) -> [u8; 32] {
        match form {
            DocumentForm::Standard => self.text_digest,
            DocumentForm::Reference => self.embedding_texts(form).digest(),
        }
    }

    /// The texts whose vectors stand for the tool. The standard form has three, who it is, what it does and what it takes, so
    /// that a long one does not drown the name.
    pub fn embedding_texts(&self, form: DocumentForm) -> EmbeddingTexts {
        if form == DocumentForm::Reference {
            return EmbeddingTexts(vec![(1.0, format!("name: {} description: {}", self.advertised, self.description))]);
        }
        let parameters = split_name(&self.parameters.names);
        let first = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let (names, descriptions, values) = (
            first(&parameters, PART_NAMES),
            first(&self.parameters.descriptions, PART_DESCRIPTIONS),
            first(&self.parameters.enum_values, PART_VALUES),
        );
        let parts = [
            (0.4, format!("{} {}", split_name(&self.server), split_name(&self.own_name))),
            (0.4, format!("{} {parameters}", first(&self.description, EMBEDDED_DESCRIPTION))),
            (0.2, format!("{names} {descriptions} {values}")),
        ];
        // Servers refuse texts without a word.
        EmbeddingTexts(parts.into_iter().filter(|(_, text)| !text.trim().is_empty()).collect())
    }

    /// Calls `each` with the stem of every word that is indexed and the position of its column in [`Column::ALL`].
    pub(crate) fn each_word(&self, splitter: &mut Splitter, mut each: impl FnMut(usize, &str)) {
        self.each_form(splitter, |column, word| each(column, word.stem));
    }

    /// As [`each_word`](Self::each_word), with all there is to say about each word.
    pub(crate) fn each_form(&self, splitter: &mut Splitter, mut each: impl FnMut(usize, Word<'_>)) {
        for (column, _) in Column::ALL.iter().enumerate() {
            splitter.split_forms(self.column_text(column), |word| each(column, word));
        }
        if self.advertised == self.own_name {
            return;
        }
        let mut known = splitter.words(&self.own_name);
        splitter.split(&self.server, |word| known.push(word.to_owned()));
        splitter.split_forms(&self.advertised, |word| {
            if !known.iter().any(|other| other == word.stem) {
                each(0, word);
            }
        });
    }

    fn column_text(&self, column: usize) -> &str {
        let text = match Column::ALL[column] {
            Column::Server => &self.server,
            Column::Name => &self.own_name,
            Column::Description => &*self.description,
            Column::ParameterNames => &*self.parameters.names,
            Column::ParameterDescriptions => &*self.parameters.descriptions,
            Column::EnumValues => &*self.parameters.enum_values,
        };
        &text[..text.floor_char_boundary(MAX_INDEXED)]
    }

    fn compute_digest(&self) -> [u8; 32] {
        let parameters = &self.parameters;
        let texts = [
            &*self.advertised,
            &*self.own_name,
            &*self.server,
            &*self.description,
            &*self.annotations,
            &*parameters.names,
            &*parameters.descriptions,
            &*parameters.enum_values,
        ];
        let mut hash = Sha256::new();
        hash.update([INDEXED_AS]);
        for text in texts {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(document: &ToolDocument) -> [String; 6] {
        let mut columns: [Vec<String>; 6] = Default::default();
        document.each_word(&mut Splitter::default(), |column, word| columns[column].push(word.to_owned()));
        columns.map(|words| words.join(" "))
    }

    fn issues() -> String {
        json!({
            "name": "searchIssues", "description": "Finds issues.", "annotations": {"readOnlyHint": true},
            "inputSchema": {"type": "object", "properties": {
                "repoName": {"type": "string", "description": "Owner and name"},
                "state": {"enum": ["open", "closed"]},
            }},
        })
        .to_string()
    }

    #[test]
    fn a_definition_is_indexed_by_column() {
        let document = ToolDocument::new("github_searchIssues", "searchIssues", "github", &issues());
        assert_eq!(
            columns(&document),
            ["github", "search issu", "find issu", "repo name state", "owner and name", "open close"]
        );
        assert_eq!(document.annotations(), r#"{"readOnlyHint":true}"#);
        assert_eq!(document.description(), "Finds issues.");
    }

    #[test]
    fn every_word_of_the_advertised_name_is_indexed_once() {
        let check = |advertised: &str, own_name: &str, server: &str, expected: [&str; 2]| {
            let document = ToolDocument::new(advertised, own_name, server, "{}");
            assert_eq!(columns(&document)[..2], expected, "{advertised}");
        };
        check("search", "search", "github", ["github", "search"]);
        check("github_search", "search", "github", ["github", "search"]);
        check("gh_search", "search", "github", ["github gh", "search"]);
        check("find_tickets", "search", "github", ["github find ticket", "search"]);
    }

    #[test]
    fn texts_for_embeddings_have_the_documented_form() {
        let document = ToolDocument::new("gh_searchIssues", "searchIssues", "git-hub", &issues());
        let texts = |document: &ToolDocument, form| document.embedding_texts(form).texts().cloned().collect::<Vec<_>>();
        assert_eq!(
            texts(&document, DocumentForm::Standard),
            ["git hub search Issues", "Finds issues. repo Name state", "repo Name state Owner and name open\nclosed",]
        );
        assert_eq!(texts(&document, DocumentForm::Reference), ["name: gh_searchIssues description: Finds issues."]);
        let bare = ToolDocument::new("ping", "ping", "s", "{}");
        assert_eq!(texts(&bare, DocumentForm::Standard), ["s ping"]);
        let long = json!({"description": "é".repeat(2000)}).to_string();
        let document = ToolDocument::new("t", "t", "s", &long);
        assert_eq!(texts(&document, DocumentForm::Standard)[1], format!("{} ", "é".repeat(1500)));
    }

    #[test]
    fn vectors_of_parts_are_weighted_and_brought_to_length_one() {
        let texts = EmbeddingTexts(vec![(0.4, "a".into()), (0.4, "b".into()), (0.2, "c".into())]);
        let combined = texts.combine(&[vec![1.0, 0.0], vec![0.0, 1.0], vec![0.0, 0.0]]);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!(combined.iter().all(|value| (value - half).abs() < 1e-6), "{combined:?}");
    }

    #[test]
    fn nonsense_gives_fewer_words() {
        for definition in ["", "[]", "{", "7", r#"{"description": 7, "inputSchema": "x"}"#, r#"{"inputSchema": [1]}"#] {
            let document = ToolDocument::new("t_x", "x", "s", definition);
            assert_eq!(columns(&document), ["s t", "x", "", "", "", ""], "{definition}");
        }
    }

    #[test]
    fn digests_tell_documents_apart() {
        let base = ToolDocument::new("a", "a", "s", &issues());
        let same = ToolDocument::new("a", "a", "s", &issues());
        assert_eq!(base.digest(), same.digest());
        let other = |advertised: &str, own_name: &str, server: &str, definition: &str| {
            assert_ne!(base.digest(), ToolDocument::new(advertised, own_name, server, definition).digest());
        };
        other("b", "a", "s", &issues());
        other("a", "b", "s", &issues());
        other("a", "a", "t", &issues());
        other("a", "a", "s", &issues().replace("closed", "shut"));
        other("a", "a", "s", &issues().replace("true", "false"));
        other("a", "a", "s", &issues().replace("Owner", "Keeper"));
    }
}
