//! Composite tools made of steps as the components that `vmcp-host workflow bake` makes of them, so that the tests of the one
//! form are tests of the other: with `VMCP_TEST_COMPOSITES=baked` a host gets a component in place of each tool's steps.

use std::{fs, path::Path};

use futures::future::join_all;
use serde_json::{Map, Value, json};

use crate::{host::WrittenHost, process};

/// Keys of an entry that stay with it: what its owner says of a component. Everything else is the author's, and in the component.
const KEYS_OF_ENTRY: [&str; 2] = ["grants", "config"];

/// Whether `VMCP_TEST_COMPOSITES` asks for it.
pub(crate) fn is_wanted() -> bool {
    match std::env::var("VMCP_TEST_COMPOSITES") {
        Ok(form) => {
            assert!(form == "baked" || form == "steps", "VMCP_TEST_COMPOSITES is `baked` or `steps`, not `{form}`");
            form == "baked"
        }
        Err(_) => false,
    }
}

/// Writes the configuration of `host` once more, with a component for each composite tool that was made of steps.
pub(crate) async fn bake_composites(host: &WrittenHost) {
    let text = fs::read_to_string(&host.config).unwrap();
    // As the host reads it, `n` and `yes` are text.
    let options = serde_yaml::options! { strict_booleans: true };
    let mut config: Value =
        serde_yaml::from_str_with_options(&text, options).unwrap_or_else(|error| panic!("{error}: {text}"));
    let Some(entries) = config.get_mut("compositeTools").and_then(Value::as_array_mut) else { return };
    let folder = host.config.with_file_name("baked");
    fs::create_dir_all(&folder).unwrap();
    let made_of_steps = entries.iter_mut().enumerate().filter(|(_, entry)| entry.get("steps").is_some());
    join_all(made_of_steps.map(|(index, entry)| {
        let stem = folder.join(index.to_string());
        async move { *entry = bake(host, entry, &stem).await }
    }))
    .await;
    // Each has code of its own, which would push that of all other tests out of their folder.
    config["cacheDir"] = json!(process::profile_dir().join("test-baked-cache"));
    fs::write(&host.config, serde_json::to_string_pretty(&config).unwrap()).unwrap();
    // Compiles them; a host that does so at its start is not ready in time on a busy machine.
    let mut validate = host.subcommand("validate");
    let (code, _, stderr) = process::run(validate.arg("-c").arg(&host.config)).await;
    assert_eq!(code, Some(0), "{stderr}");
}

/// Bakes one entry by way of the files `stem`, and returns the entry of the component.
async fn bake(host: &WrittenHost, entry: &Value, stem: &Path) -> Value {
    let (of_entry, document): (Map<_, _>, Map<_, _>) =
        entry.as_object().unwrap().clone().into_iter().partition(|(key, _)| KEYS_OF_ENTRY.contains(&key.as_str()));
    let (file, component) = (stem.with_extension("json"), stem.with_extension("wasm"));
    fs::write(&file, Value::Object(document).to_string()).unwrap();
    let mut command = host.subcommand("workflow");
    command.arg("bake").arg(&file).arg("-o").arg(&component);
    let (code, _, stderr) = process::run(&mut command).await;
    assert_eq!(code, Some(0), "`{}` cannot be baked: {stderr}", entry["name"]);
    let mut baked =
        Map::from_iter([("name".to_owned(), entry["name"].clone()), ("workflow".to_owned(), json!(component))]);
    baked.extend(of_entry);
    Value::Object(baked)
}
