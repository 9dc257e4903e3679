//! The MCP server `notes`: tools, resources, a prompt and completions over a [`NoteFolder`].

mod address;
mod folder;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::{
        router::{prompt::PromptRouter, tool::ToolRouter},
        wrapper::Parameters,
    },
    model::{
        CompleteRequestParams, CompleteResult, CompletionInfo, GetPromptResult, Implementation,
        ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, PromptMessage, ProtocolVersion,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference, Resource, ResourceContents,
        ResourceTemplate, Role, ServerCapabilities, ServerConfig, SubscriptionFilter,
    },
    prompt, prompt_handler, prompt_router,
    service::{RequestContext, SubscriptionContext},
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::folder::{NoteError, NoteFolder, NoteMatch, NoteName, NoteSummary};
use crate::storage::on_disk;

const MARKDOWN: &str = "text/markdown";
/// Matches that one search returns at most.
const MAX_MATCHES: u16 = 100;

/// Arguments of `add`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewNote {
    /// Title; the name of the note is made of it.
    title: String,
    /// Text in Markdown, without the title.
    text: String,
}

/// Arguments of `search`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Words to look for as they stand, in any case.
    query: String,
    /// Most matches wanted.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u16,
}

fn default_limit() -> u16 {
    20
}

/// Arguments of `read` and of the prompt `summarise`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichNote {
    /// Name of the note as `list` gives it.
    name: String,
}

/// Result of `add`.
#[derive(Serialize, JsonSchema)]
struct AddedNote {
    /// Name to read it by.
    name: String,
    /// Address as a resource.
    uri: String,
}

/// Result of `list`.
#[derive(Serialize, JsonSchema)]
struct NoteList {
    /// By name.
    notes: Vec<NoteSummary>,
}

/// Result of `search`.
#[derive(Serialize, JsonSchema)]
struct NoteMatches {
    /// By name and line.
    matches: Vec<NoteMatch>,
}

pub(crate) struct NotesServer {
    folder: NoteFolder,
    tool_router: ToolRouter<Self>,
    prompt_router: PromptRouter<Self>,
    /// Counts the notes added, to tell clients that listen.
    added: Arc<watch::Sender<u64>>,
}

impl NotesServer {
    /// Serves the notes in `folder`, which is made if need be.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, NoteError> {
        Ok(Self {
            folder: NoteFolder::open(folder)?,
            tool_router: Self::tool_router(),
            prompt_router: Self::prompt_router(),
            added: Arc::default(),
        })
    }

    async fn with_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&NoteFolder) -> Result<T, NoteError> + Send + 'static,
    ) -> Result<T, String> {
        let folder = self.folder.clone();
        on_disk(move || work(&folder)).await
    }

    /// Tells the client that there is one more resource, in the way of its protocol revision.
    async fn announce_new_resource(&self, context: &RequestContext<RoleServer>) {
        self.added.send_modify(|count| *count += 1);
        let is_legacy = context.protocol_version().is_none_or(|version| version < ProtocolVersion::V_2026_07_28);
        if is_legacy {
            // A client that is gone does not need to know.
            let _ = context.peer.notify_resource_list_changed().await;
        }
    }
}

#[tool_router]
impl NotesServer {
    /// Write a new note.
    #[tool(annotations(
        title = "Add a note",
        read_only_hint = false,
        destructive_hint = false,
        open_world_hint = false
    ))]
    async fn add(
        &self,
        Parameters(note): Parameters<NewNote>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<AddedNote>, String> {
        let name = self.with_folder(move |folder| folder.add(&note.title, &note.text)).await?;
        self.announce_new_resource(&context).await;
        Ok(Json(AddedNote { uri: address::uri(name.as_str()), name: name.as_str().into() }))
    }

    /// List all notes with name, title and length.
    #[tool(annotations(title = "List notes", read_only_hint = true, open_world_hint = false))]
    async fn list(&self) -> Result<Json<NoteList>, String> {
        let notes = self.with_folder(NoteFolder::list).await?;
        Ok(Json(NoteList { notes }))
    }

    /// Find the lines of all notes that contain some words.
    #[tool(annotations(title = "Search notes", read_only_hint = true, open_world_hint = false))]
    async fn search(&self, Parameters(query): Parameters<Query>) -> Result<Json<NoteMatches>, String> {
        let limit = query.limit.clamp(1, MAX_MATCHES).into();
        let matches = self.with_folder(move |folder| folder.search(&query.query, limit)).await?;
        Ok(Json(NoteMatches { matches }))
    }

    /// Read one note.
    #[tool(annotations(title = "Read a note", read_only_hint = true, open_world_hint = false))]
    async fn read(&self, Parameters(which): Parameters<WhichNote>) -> Result<String, String> {
        self.with_folder(move |folder| folder.read(&NoteName::new(&which.name)?)).await
    }
}

#[prompt_router]
impl NotesServer {
    /// Ask for a summary of one note.
    #[prompt]
    async fn summarise(&self, Parameters(which): Parameters<WhichNote>) -> Result<GetPromptResult, ErrorData> {
        let read = move |folder: &NoteFolder| {
            let name = NoteName::new(&which.name)?;
            folder.read(&name).map(|text| (name, text))
        };
        let (name, text) = self.with_folder(read).await.map_err(|error| ErrorData::invalid_params(error, None))?;
        let note = ResourceContents::text(text, address::uri(name.as_str())).with_mime_type(MARKDOWN);
        let question = "Summarise this note in at most three sentences, and list what is left to do.";
        Ok(GetPromptResult::new(vec![
            PromptMessage::new_text(Role::User, question),
            PromptMessage::new(Role::User, rmcp::model::ContentBlock::resource(note)),
        ])
        .with_description(format!("Summary of the note `{name}`")))
    }
}

#[tool_handler(router = self.tool_router)]
#[prompt_handler(router = self.prompt_router)]
impl ServerHandler for NotesServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_completions()
            .enable_resources()
            .enable_resources_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("notes", env!("CARGO_PKG_VERSION")))
            .with_instructions("A folder of Markdown notes. Search before you add: a note may exist already.")
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let notes = self.with_folder(NoteFolder::list).await.map_err(|error| ErrorData::internal_error(error, None))?;
        let resource = |note: NoteSummary| {
            Resource::new(address::uri(&note.name), note.name)
                .with_title(note.title)
                .with_mime_type(MARKDOWN)
                .with_size(note.bytes)
        };
        Ok(ListResourcesResult::with_all_items(notes.into_iter().map(resource).collect()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = ResourceTemplate::new(address::TEMPLATE, "note")
            .with_title("A note")
            .with_description("One note by its name")
            .with_mime_type(MARKDOWN);
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri;
        let not_found = |message: String| ErrorData::resource_not_found(message, None);
        let Some(name) = address::name(&uri) else {
            return Err(not_found(format!("`{uri}` is no address of a note: they read {}", address::TEMPLATE)));
        };
        let text = self.with_folder(move |folder| folder.read(&name?)).await.map_err(not_found)?;
        let contents = ResourceContents::text(text, uri).with_mime_type(MARKDOWN);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    /// Both the prompt and the template have one argument, `name`.
    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let is_known = match &request.r#ref {
            Reference::Prompt(prompt) => prompt.name == "summarise",
            Reference::Resource(template) => template.uri == address::TEMPLATE,
            _ => false,
        };
        if !is_known || request.argument.name != "name" {
            return Ok(CompleteResult::default());
        }
        let names =
            self.with_folder(NoteFolder::names).await.map_err(|error| ErrorData::internal_error(error, None))?;
        let begun = request.argument.value;
        let fitting = names.iter().map(NoteName::as_str).filter(|name| name.starts_with(&begun)).map(str::to_owned);
        let values = fitting.take(CompletionInfo::MAX_VALUES).collect();
        CompletionInfo::new(values).map(CompleteResult::new).map_err(|error| ErrorData::internal_error(error, None))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut added = self.added.subscribe();
        loop {
            tokio::select! {
                biased;
                () = context.cancelled() => return Ok(()),
                changed = added.changed() => {
                    let is_told = context.sink().notify_resource_list_changed().await.is_ok();
                    if changed.is_err() || !is_told {
                        return Ok(());
                    }
                }
            }
        }
    }
}
