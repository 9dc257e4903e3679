//! What the files of a model's folder say about how to run it. The layout is that of the sentence-transformers library; what
//! it could ask for and we do not do is refused, since vectors that are nearly right would go unseen.

use std::{
    borrow::Cow,
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use candle_transformers::models::bert::Config;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use vmcp_optimizer::embedding::wordpiece::{Vocabulary, WordPiece, WordPieceOptions};

/// Where a model has no limit of its own.
const MAX_TOKENS: usize = 512;
const MODULES: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

/// Why a folder is no model that can be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalModelError {
    #[error(
        "cannot read `{path}` (a model's folder holds config.json, model.safetensors, and tokenizer.json or vocab.txt)"
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is not what a model of the BERT family has there")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("the model in `{folder}` cannot be run: {reason}")]
    Unsupported { folder: PathBuf, reason: String },
    #[error("the model in `{folder}` does not work")]
    Broken { folder: PathBuf, source: candle_core::Error },
}

/// How the vectors of the tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
}

pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) word_piece: WordPiece,
    pub(crate) pooling: Pooling,
    pub(crate) max_tokens: usize,
}

/// A model's folder.
pub(crate) struct Folder<'a>(pub(crate) &'a Path);

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Lengths {
    max_seq_length: Option<usize>,
}

/// `tokenizer_config.json`, which counts only beside `vocab.txt`.
#[derive(Deserialize)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
}

#[derive(Deserialize)]
struct TokenizerFile {
    model: TokenizerModel,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Kind>,
}

#[derive(Deserialize)]
struct TokenizerModel {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    /// A map from pieces to numbers; other kinds of model have lists.
    vocab: Value,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    lowercase: Option<bool>,
    strip_accents: Option<bool>,
    handle_chinese_chars: Option<bool>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// Pieces and folding, before the length is known.
struct Splitting {
    vocabulary: Vocabulary,
    lower_case: bool,
    strip_accents: bool,
    unknown: String,
}

impl Folder<'_> {
    pub(crate) fn settings(&self) -> Result<Settings, LocalModelError> {
        let config = self.config()?;
        self.check_modules()?;
        let lengths: Option<Lengths> = self.optional("sentence_bert_config.json")?;
        let wanted = lengths.and_then(|lengths| lengths.max_seq_length).unwrap_or(MAX_TOKENS);
        let max_tokens = wanted.min(config.max_position_embeddings);
        Ok(Settings { word_piece: self.word_piece(max_tokens)?, pooling: self.pooling()?, config, max_tokens })
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, LocalModelError> {
        let path = self.0.join(name);
        std::fs::read(&path).map_err(|source| LocalModelError::Read { path, source })
    }

    fn config(&self) -> Result<Config, LocalModelError> {
        let kind: Value = self.json("config.json")?;
        match kind["model_type"].as_str() {
            Some("bert") | None => self.json("config.json"),
            Some(other) => Err(self.unsupported(format!("config.json says `model_type: {other}`, not `bert`"))),
        }
    }

    fn check_modules(&self) -> Result<(), LocalModelError> {
        let modules: Vec<Module> = self.optional("modules.json")?.unwrap_or_default();
        let unknown = modules.iter().find(|module| !MODULES.iter().any(|known| module.kind.ends_with(known)));
        match unknown {
            Some(module) => Err(self.unsupported(format!("modules.json asks for `{}`", module.kind))),
            None => Ok(()),
        }
    }

    fn pooling(&self) -> Result<Pooling, LocalModelError> {
        let modes: HashMap<String, Value> = self.optional("1_Pooling/config.json")?.unwrap_or_default();
        let mut chosen: Vec<&str> =
            modes.iter().filter(|(_, value)| **value == Value::Bool(true)).map(|(name, _)| name.as_str()).collect();
        // Says what is left out of the mean, and nothing of the kind is ever put in.
        chosen.retain(|mode| mode.starts_with("pooling_mode_"));
        match chosen[..] {
            [] | ["pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
            ["pooling_mode_cls_token"] => Ok(Pooling::First),
            _ => Err(self.unsupported(format!("1_Pooling/config.json asks for {}", chosen.join(" and ")))),
        }
    }

    fn word_piece(&self, max_tokens: usize) -> Result<WordPiece, LocalModelError> {
        let Splitting { vocabulary, lower_case, strip_accents, unknown } = match self.optional("tokenizer.json")? {
            Some(tokenizer) => self.splitting_of(tokenizer)?,
            None => self.splitting_of_lines()?,
        };
        let id = |piece: &str| {
            vocabulary.id(piece).ok_or_else(|| self.unsupported(format!("its vocabulary has no `{piece}`")))
        };
        let (unknown, frame) = (id(&unknown)?, (id("[CLS]")?, id("[SEP]")?));
        let options = WordPieceOptions { lower_case, strip_accents, unknown, frame: Some(frame), max_tokens };
        Ok(WordPiece::new(vocabulary, options))
    }

    fn splitting_of(&self, tokenizer: TokenizerFile) -> Result<Splitting, LocalModelError> {
        let TokenizerFile { model, normalizer, pre_tokenizer } = tokenizer;
        let not_ours = |what: &str| Err(self.unsupported(format!("tokenizer.json asks for another {what}")));
        if model.kind.is_some_and(|kind| kind != "WordPiece") {
            return not_ours("model than WordPiece");
        }
        if model.continuing_subword_prefix.is_some_and(|prefix| prefix != "##") {
            return not_ours("continuing_subword_prefix than `##`");
        }
        if model.max_input_chars_per_word.is_some_and(|longest| longest != 100) {
            return not_ours("max_input_chars_per_word than 100");
        }
        if pre_tokenizer.is_none_or(|pre_tokenizer| pre_tokenizer.kind != "BertPreTokenizer") {
            return not_ours("pre_tokenizer than BertPreTokenizer");
        }
        let Some(normalizer) = normalizer.filter(|normalizer| normalizer.kind == "BertNormalizer") else {
            return not_ours("normalizer than BertNormalizer");
        };
        if normalizer.handle_chinese_chars == Some(false) {
            return not_ours("way with Chinese characters");
        }
        let Ok(pieces) = serde_json::from_value::<HashMap<String, u32>>(model.vocab) else {
            return not_ours("form of vocabulary than a map");
        };
        let lower_case = normalizer.lowercase.unwrap_or(true);
        Ok(Splitting {
            vocabulary: Vocabulary::new(pieces.into_iter().map(|(piece, id)| (Cow::Owned(piece), id))),
            lower_case,
            strip_accents: normalizer.strip_accents.unwrap_or(lower_case),
            unknown: model.unk_token.unwrap_or_else(|| "[UNK]".into()),
        })
    }

    fn splitting_of_lines(&self) -> Result<Splitting, LocalModelError> {
        let config: Option<TokenizerConfig> = self.optional("tokenizer_config.json")?;
        let lower_case = config.as_ref().and_then(|config| config.do_lower_case).unwrap_or(true);
        let strip_accents = config.and_then(|config| config.strip_accents).unwrap_or(lower_case);
        let Ok(lines) = String::from_utf8(self.read("vocab.txt")?) else {
            return Err(self.unsupported("vocab.txt is not UTF-8".into()));
        };
        let vocabulary = Vocabulary::from_lines(Cow::Owned(lines));
        Ok(Splitting { vocabulary, lower_case, strip_accents, unknown: "[UNK]".into() })
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, LocalModelError> {
        serde_json::from_slice(&self.read(name)?)
            .map_err(|source| LocalModelError::Malformed { path: self.0.join(name), source })
    }

    /// `None` where there is no such file.
    fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LocalModelError> {
        match self.json(name) {
            Err(LocalModelError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn unsupported(&self, reason: String) -> LocalModelError {
        LocalModelError::Unsupported { folder: self.0.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The files of a small model, changed by `change`.
    fn opened(change: impl FnOnce(&mut HashMap<&str, Value>)) -> Result<Settings, LocalModelError> {
        let config = json!({
            "model_type": "bert", "vocab_size": 5, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
            "intermediate_size": 4, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 128,
            "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        });
        let tokenizer = json!({
            "normalizer": { "type": "BertNormalizer", "lowercase": true, "strip_accents": null },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "vocab": { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4 } },
        });
        let mut files = HashMap::from([("config.json", config), ("tokenizer.json", tokenizer)]);
        change(&mut files);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        for (name, content) in files {
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Folder(dir.path()).settings()
    }

    #[test]
    fn pooling_is_the_mean_unless_the_folder_says_otherwise() {
        let check = |modes: Option<Value>, expected: Result<Pooling, &str>| {
            let settings = opened(|files| {
                files.extend(modes.map(|modes| ("1_Pooling/config.json", modes)));
            });
            match (settings, expected) {
                (Ok(settings), Ok(pooling)) => assert_eq!(settings.pooling, pooling),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{:?} is not {expected:?}", got.map(|settings| settings.pooling)),
            }
        };
        check(None, Ok(Pooling::Mean));
        check(Some(json!({ "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false })), Ok(Pooling::Mean));
        check(Some(json!({ "pooling_mode_cls_token": true, "include_prompt": true })), Ok(Pooling::First));
        check(Some(json!({ "pooling_mode_max_tokens": true })), Err("pooling_mode_max_tokens"));
    }

    #[test]
    fn texts_are_as_long_as_the_model_takes() {
        let check = |lengths: Option<Value>, expected: usize| {
            let settings = opened(|files| {
                files.extend(lengths.map(|lengths| ("sentence_bert_config.json", lengths)));
            });
            let settings = settings.unwrap();
            assert_eq!(settings.max_tokens, expected);
            assert_eq!(settings.word_piece.ids(&"a ".repeat(600)).len(), expected);
        };
        check(None, 128);
        check(Some(json!({ "max_seq_length": 64 })), 64);
        check(Some(json!({ "max_seq_length": 512 })), 128);
    }

    #[test]
    fn a_vocabulary_alone_is_enough() {
        let settings = opened(|files| {
            files.remove("tokenizer.json");
            files.insert("vocab.txt", json!("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nA\n"));
            files.insert("tokenizer_config.json", json!({ "do_lower_case": false }));
        });
        assert_eq!(settings.unwrap().word_piece.ids("a A é"), [2, 4, 5, 1, 3]);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let check = |name: &'static str, content: Value, expected: &str| {
            let error = opened(|files| {
                files.insert(name, content);
            });
            let error = error.err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("config.json", json!({ "model_type": "t5" }), "`model_type: t5`, not `bert`");
        check("config.json", json!([]), "config.json` is not what a model of the BERT family has there");
        check("modules.json", json!([{ "type": "sentence_transformers.models.Dense" }]), "asks for `sentence");
        check("tokenizer.json", json!({ "model": { "type": "Unigram", "vocab": [] } }), "another model than WordPiece");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Folder(Path::new("/not/there")).settings().err().unwrap().to_string();
        assert!(error.starts_with("cannot read `/not/there/config.json` (a model's folder holds"), "{error}");
    }
}
