//! Puts a document into the interpreter of workflows by composition, without any compiler: a small component that gives the
//! document away is made and plugged into the interpreter's import. The same document and interpreter give the same bytes.

use wac_graph::{CompositionGraph, EncodeOptions, plug, types::Package};
use wasm_encoder::{
    CodeSection, ComponentSection as _, ConstExpr, CustomSection, DataSection, ExportKind, ExportSection, Function,
    FunctionSection, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The custom section with the text that a component was baked from, for people; nothing runs it.
const SOURCE_SECTION: &str = "vmcp:source";
/// The interface that gives the document, as `wit/deps/vmcp-workflow@0.1.0` has it.
const WIT: &str = "
package vmcp:workflow@0.1.0;
interface document { get: func() -> string; }
world document-provider { export document; }
";
const WORLD: &str = "document-provider";
const GET: &str = "vmcp:workflow/document@0.1.0#get";
/// Where in memory the reply of `get` lies: address and length of the text, which follows.
const REPLY: u32 = 8;
const TEXT: u32 = REPLY + 8;
const PAGE: u64 = 1 << 16;

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BakeError {
    #[error("the document has {0} bytes, which is more than a component can hold")]
    TooLong(usize),
    /// The interpreter is no component, or imports no document.
    #[error("the interpreter takes no document: {0}")]
    Interpreter(String),
    #[error("the component cannot be written: {0}")]
    Encode(String),
}

/// `interpreter` with `document` in it.
///
/// - `document`: JSON text that it interprets
/// - `text`: what the author wrote, kept for [`source`]
pub fn bake(interpreter: &[u8], document: &str, text: &str) -> Result<Vec<u8>, BakeError> {
    let mut graph = CompositionGraph::new();
    let no_interpreter = |error: &dyn std::fmt::Display| BakeError::Interpreter(error.to_string());
    let socket = Package::from_bytes("vmcp:interpreter", None, interpreter.to_vec(), graph.types_mut())
        .map_err(|error| no_interpreter(&format!("{error:#}")))?;
    let socket = graph.register_package(socket).map_err(|error| no_interpreter(&error))?;
    let encode_error = |error: &dyn std::fmt::Display| BakeError::Encode(error.to_string());
    let provider = Package::from_bytes("vmcp:document", None, provider(document)?, graph.types_mut())
        .map_err(|error| encode_error(&format!("{error:#}")))?;
    let provider = graph.register_package(provider).map_err(|error| encode_error(&error))?;
    plug(&mut graph, vec![provider], socket).map_err(|error| no_interpreter(&error))?;
    let mut baked = graph.encode(EncodeOptions::default()).map_err(|error| encode_error(&error))?;
    CustomSection { name: SOURCE_SECTION.into(), data: text.as_bytes().into() }.append_to_component(&mut baked);
    Ok(baked)
}

/// What the author of a baked component wrote.
pub fn source(component: &[u8]) -> Option<String> {
    let payloads = Parser::new(0).parse_all(component).filter_map(Result::ok);
    let texts = payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == SOURCE_SECTION => {
            String::from_utf8(section.data().to_vec()).ok()
        }
        _ => None,
    });
    // What is composed into a component comes before its own sections.
    texts.last()
}

/// A component whose `get` gives `document`.
fn provider(document: &str) -> Result<Vec<u8>, BakeError> {
    let encode_error = |error: &dyn std::fmt::Display| BakeError::Encode(error.to_string());
    let mut resolve = Resolve::default();
    let package = resolve.push_str("document.wit", WIT).map_err(|error| encode_error(&format!("{error:#}")))?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| encode_error(&format!("{error:#}")))?;
    let mut module = module(document)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .map_err(|error| encode_error(&format!("{error:#}")))?;
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| encode_error(&format!("{error:#}")))
}

/// One memory that holds the document, and one function that says where.
fn module(document: &str) -> Result<Vec<u8>, BakeError> {
    let length = u32::try_from(document.len()).ok().filter(|length| *length < u32::MAX - TEXT - u32::from(u16::MAX));
    let length = length.ok_or(BakeError::TooLong(document.len()))?;
    let mut data = Vec::with_capacity(document.len() + 8);
    data.extend(TEXT.to_le_bytes());
    data.extend(length.to_le_bytes());
    data.extend(document.as_bytes());
    let pages = u64::from(TEXT + length).div_ceil(PAGE);

    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    let memory =
        MemoryType { minimum: pages, maximum: Some(pages), memory64: false, shared: false, page_size_log2: None };
    memories.memory(memory);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export(GET, ExportKind::Func, 0);
    let mut get = Function::new([]);
    get.instructions().i32_const(REPLY.cast_signed()).end();
    let mut code = CodeSection::new();
    code.function(&get);
    let mut contents = DataSection::new();
    contents.active(0, &ConstExpr::i32_const(REPLY.cast_signed()), data);

    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code).section(&contents);
    Ok(module.finish())
}
