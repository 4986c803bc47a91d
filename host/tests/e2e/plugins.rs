//! The four plugins that ship, on the samples that ship.

use serde_json::{Value, json};

use crate::harness::{Host, built, bytes, code, sample};

fn resize(host: &Host, name: &str, media_type: &str, query: &str) -> (u16, String, Vec<u8>) {
    let response = host
        .post(&format!("/v1/plugins/image-processor/process?{query}"))
        .header("content-type", media_type)
        .body(sample(name))
        .send()
        .unwrap();
    let status = response.status().as_u16();
    let given = response.headers()["content-type"].to_str().unwrap().to_owned();
    (status, given, bytes(response))
}

fn size(picture: &[u8]) -> (usize, usize) {
    let size = imagesize::blob_size(picture).unwrap();
    (size.width, size.height)
}

#[test]
fn pictures_fit_the_box_and_keep_their_aspect_ratio() {
    let host = Host::serve(&built("plugins"));
    for (name, media_type) in
        [("photo.jpg", "image/jpeg"), ("photo.png", "image/png"), ("photo.webp", "image/webp")]
    {
        let (status, given, picture) = resize(&host, name, media_type, "width=320&height=240");
        assert_eq!((status, given.as_str()), (200, media_type), "{name}");
        let (width, height) = size(&picture);
        assert!(width == 320 || height == 240, "{name}: {width}x{height}");
        assert!(width <= 320 && height <= 240, "{name}: {width}x{height}");
        let (from, to) = (size(&sample(name)), width as f64 / height as f64);
        let ratio = from.0 as f64 / from.1 as f64;
        assert!((to / ratio - 1.0).abs() < 0.01, "{name}: {ratio} became {to}");
    }
}

#[test]
fn a_picture_may_change_its_format() {
    let host = Host::serve(&built("plugins"));
    let (status, given, picture) = resize(&host, "photo.webp", "image/webp", "width=64&format=png");
    assert_eq!((status, given.as_str()), (200, "image/png"));
    assert!(picture.starts_with(b"\x89PNG"));
    assert_eq!(size(&picture).0, 64);
}

#[test]
fn broken_and_exploding_pictures_get_a_clear_answer() {
    let host = Host::serve(&built("plugins"));
    let ask = |picture: Vec<u8>, media_type: &str, query: &str| {
        let response = host
            .post(&format!("/v1/plugins/image-processor/process?{query}"))
            .header("content-type", media_type.to_owned())
            .body(picture)
            .send()
            .unwrap();
        (response.status().as_u16(), code(&response.text().unwrap()))
    };
    let refused = (422, "core/plugin-refused".to_owned());
    let photo = sample("photo.jpg");
    assert_eq!(ask(photo[..photo.len() / 3].to_vec(), "image/jpeg", "width=10"), refused);
    assert_eq!(ask(photo[..20].to_vec(), "image/jpeg", "width=10"), refused);
    assert_eq!(ask(Vec::new(), "image/png", "width=10"), refused);
    assert_eq!(ask(b"not a picture".to_vec(), "image/png", "width=10"), refused);
    assert_eq!(ask(bomb(50_000), "image/png", "width=10"), refused);
    assert_eq!(ask(photo.clone(), "image/png", "width=10"), refused, "a jpeg called png");
    assert_eq!(ask(photo.clone(), "image/jpeg", "width=many"), refused);
    assert_eq!(ask(photo.clone(), "image/jpeg", "width=0"), refused);
    let (status, unsupported) = ask(photo, "image/tiff", "");
    assert_eq!((status, unsupported.as_str()), (415, "host/unsupported-media-type"));
    assert_eq!(resize(&host, "photo.webp", "image/webp", "width=32").0, 200);
}

/// A small file that says it is a picture of `side` x `side` pixels: 10 GB for 50,000.
fn bomb(side: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let start = png.len();
        png.extend(kind);
        png.extend(data);
        let mut crc = flate2::Crc::new();
        crc.update(&png[start..]);
        png.extend(crc.sum().to_be_bytes());
    };
    let mut head = Vec::new();
    head.extend(side.to_be_bytes());
    head.extend(side.to_be_bytes());
    head.extend([8, 6, 0, 0, 0]);
    chunk(b"IHDR", &head);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut zlib, &vec![0; 4 << 20]).unwrap();
    chunk(b"IDAT", &zlib.finish().unwrap());
    chunk(b"IEND", &[]);
    png
}

#[test]
fn text_is_transformed_step_by_step() {
    let host = Host::serve(&built("plugins"));
    let (status, text) = host.process(
        "text-transformer",
        &[("ops", "trim,lower,slugify")],
        "  H\u{e9}llo, World!  ",
    );
    assert_eq!((status, text.as_str()), (200, "hello-world"));

    let invalid = host
        .post("/v1/plugins/text-transformer/process?ops=lower")
        .header("content-type", "text/plain")
        .body(b"ab\xffcd".to_vec())
        .send()
        .unwrap();
    assert_eq!(invalid.status().as_u16(), 422);
    assert_eq!(code(&invalid.text().unwrap()), "core/plugin-refused");
    assert_eq!(host.refusal("text-transformer", &[("ops", "explode")], "x").0, 422);
    let nested = "(a*)*".repeat(50);
    let hostile = [("ops", "replace"), ("pattern", nested.as_str()), ("with", "x")];
    assert!(matches!(host.process("text-transformer", &hostile, &"a".repeat(10_000)).0, 200 | 422));
}

#[test]
fn documents_are_validated_with_the_path_of_each_violation() {
    let host = Host::serve(&built("plugins"));
    let ask = |body: Vec<u8>, media_type: &str, query: &[(&str, &str)]| {
        let response = host
            .post("/v1/plugins/data-validator/process")
            .query(query)
            .header("content-type", media_type.to_owned())
            .body(body)
            .send()
            .unwrap();
        (response.status().as_u16(), response.json::<Value>().unwrap())
    };
    let schema = String::from_utf8(sample("order.schema.json")).unwrap();
    let with_schema = [("schema", schema.as_str())];
    let (status, verdict) = ask(sample("order.json"), "application/json", &with_schema);
    assert_eq!((status, &verdict["valid"]), (200, &json!(true)), "{verdict}");

    let wrong = r#"{"type":"object","properties":{"a":{"items":{"type":"string"}}}}"#;
    let (_, verdict) = ask(br#"{"a":["x",7]}"#.to_vec(), "application/json", &[("schema", wrong)]);
    assert_eq!(verdict["valid"], json!(false));
    assert_eq!(verdict["violations"][0]["path"], json!("/a/1"), "{verdict}");

    let csv = b"name,age\nann,41\nbob,old\n".to_vec();
    let (_, verdict) = ask(csv, "text/csv", &[("columns", "name,age"), ("types", "string,int")]);
    assert_eq!(verdict["violations"][0]["path"], json!("/2/age"), "{verdict}");

    let nested = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
    assert_eq!(ask(nested, "application/json", &[]).0, 422);
}

#[test]
fn a_document_of_50_mb_is_a_clear_answer_and_no_trap() {
    let host = Host::serve_with(&built("plugins"), &["--body-limit", "64MiB"]);
    let document = format!("[{}1]", "1,".repeat(25_000_000));
    let response = host
        .post("/v1/plugins/data-validator/process")
        .header("content-type", "application/json")
        .body(document)
        .send()
        .unwrap();
    assert_eq!(response.status().as_u16(), 422);
    assert_eq!(code(&response.text().unwrap()), "core/plugin-refused");
}

#[test]
fn a_log_line_goes_in_and_an_enriched_event_comes_out() {
    let host = Host::serve(&built("plugins"));
    let line = r#"{"level":"ERROR","msg":"login failed","user":"ann","password":"hunter2"}"#;
    let event = json!({ "event-type": "log.line", "payload": line, "source": "test" });
    let answer: Value = host.post("/v1/events").json(&event).send().unwrap().json().unwrap();
    let handled = json!([{ "plugin": "log-enricher", "handled": true, "attempts": 1 }]);
    assert_eq!(answer["deliveries"], handled);

    let page: Value = host.get("/v1/events").json().unwrap();
    let enriched = &page["events"][0];
    assert_eq!(
        (&enriched["event-type"], &enriched["source"]),
        (&json!("log.enriched"), &json!("log-enricher"))
    );
    let payload = enriched["payload"].as_str().unwrap();
    assert!(!payload.contains("hunter2"), "{payload}");
    assert!(payload.contains("[redacted]") && payload.contains("ann"), "{payload}");

    let next = format!("/v1/events?after={}", page["next"]);
    assert_eq!(host.get(&next).json::<Value>().unwrap()["events"], json!([]));
}

#[test]
fn the_sample_logs_come_out_without_their_secrets() {
    let host = Host::serve(&built("plugins"));
    for name in ["app.log", "access.log"] {
        let answer: Value = host
            .post("/v1/events?type=log.batch")
            .header("content-type", "text/plain")
            .body(sample(name))
            .send()
            .unwrap()
            .json()
            .unwrap();
        assert_eq!(answer["deliveries"][0]["handled"], json!(true), "{name}: {answer}");
    }
    let page = host.get("/v1/events?limit=1000").json::<Value>().unwrap();
    let lines = |name| String::from_utf8(sample(name)).unwrap().lines().count();
    let emitted = page["events"].as_array().unwrap().len();
    assert_eq!(emitted, lines("app.log") + lines("access.log"));
}

#[test]
fn an_event_that_nobody_wants_is_delivered_to_nobody() {
    let host = Host::serve(&built("plugins"));
    let event = json!({ "event-type": "weather.rain", "payload": "" });
    let answer: Value = host.post("/v1/events").json(&event).send().unwrap().json().unwrap();
    assert_eq!(answer["deliveries"], json!([]));
}
