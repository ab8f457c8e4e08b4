//! What a configuration may say, and what is said where it is wrong.

use super::*;

const ID: &str = "cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f";

fn parse(certificate: &str) -> Result<Config> {
    let text = format!("api_url = \"https://zonecert.example.com\"\n[[certificate]]\nid = \"{ID}\"\n{certificate}");
    Config::parse(&text, Some("zc_token".to_owned()))
}

#[test]
fn the_example_is_a_configuration_and_its_defaults_are_careful() {
    let text = include_str!("../../zonecert-agent.toml");
    let config = Config::parse(text, Some("zc_token".to_owned())).unwrap();
    assert_eq!(config.interval, Duration::from_hours(1));
    let [certificate] = config.certificates.as_slice() else { panic!("{config:?}") };
    let modes: Vec<(Part, u32)> = certificate.files.iter().map(|file| (file.part, file.mode)).collect();
    assert_eq!(modes, [(Part::Fullchain, 0o644), (Part::Key, 0o600)]);
    assert_eq!(certificate.reload, ["systemctl", "reload", "nginx"]);
    assert_eq!(certificate.reload_within, Duration::from_mins(1));
    assert!(certificate.probe.is_some());
    // What is commented out is allowed as well.
    let uncommented: String =
        text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).fold(String::new(), |all, line| all + line + "\n");
    assert!(uncommented.len() < text.len());
    let config = Config::parse(&uncommented, Some("zc_token".to_owned())).unwrap();
    assert_eq!(config.certificates[0].files.len(), 5);
}

#[test]
fn the_interval_is_neither_so_short_that_it_burdens_nor_so_long_that_a_server_counts_as_silent() {
    let of = |seconds: u64| {
        let text = format!(
            "api_url = \"https://zonecert.example.com\"\npoll_interval_seconds = {seconds}\n[[certificate]]\nid = \"{ID}\"\ndirectory = \"/c\"\nkey = \"k\""
        );
        Config::parse(&text, Some("zc_token".to_owned())).map(|config| config.interval)
    };
    for seconds in [60, 3600, 86_400] {
        assert_eq!(of(seconds).unwrap(), Duration::from_secs(seconds));
    }
    // A TOML integer has 64 bits with a sign.
    for (seconds, says) in [(0, "at least 60"), (59, "at least 60"), (86_401, "at most 86400"), (i64::MAX.unsigned_abs(), "at most 86400")]
    {
        let error = of(seconds).unwrap_err().to_string();
        assert!(error.contains("poll_interval_seconds must be") && error.contains(says), "{seconds}: {error}");
    }
}

#[test]
fn users_and_groups_are_names_or_numbers() {
    let config = parse("directory = \"/c\"\nkey = \"k\"\nowner = \"root\"\ngroup = \"1234\"").unwrap();
    assert_eq!((config.certificates[0].owner, config.certificates[0].group), (Some(0), Some(1234)));
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    for (certificate, says) in [
        ("directory = \"/c\"", "no file is wanted"),
        ("directory = \"c\"\nkey = \"k\"", "directory must begin with /"),
        ("directory = \"/c\"\nkey = \"../k\"", "key is the name of a file in directory"),
        ("directory = \"/c\"\nkey = \"..data\"", "key is the name of a file in directory"),
        ("directory = \"/c\"\nkey = \"a\"\ncert = \"a\"", "a is the name of two files"),
        ("directory = \"/c\"\nkey = \"k\"\nkey_mode = \"0644\"", "key_mode would have everybody read the private key"),
        ("directory = \"/c\"\nkey = \"k\"\nmode = \"rw\"", "mode is three octal digits"),
        ("directory = \"/c\"\nkey = \"k\"\nowner = \"nobody-of-this-name\"", "this server knows no nobody-of-this-name"),
        ("directory = \"/c\"\nkey = \"k\"\nreload = [\"\"]", "reload begins with a program"),
        ("directory = \"/c\"\nkey = \"k\"\nreload = \"systemctl reload nginx\"", "invalid type: string"),
        ("directory = \"/c\"\nkey = \"k\"\ncolour = \"blue\"", "unknown field `colour`"),
        ("directory = \"/c\"\nkey = \"k\"\ntarget = \"a b\"", "target has 1 to 100 letters"),
        ("directory = \"/c\"\nkey = \"k\"\nprobe = { address = \"a\", server_name = \"a.test\" }", "probe.address is a host and a port"),
        ("directory = \"/c\"\nkey = \"k\"\nprobe = { address = \"a:1\", server_name = \"a b\" }", "probe.server_name is no host name"),
        (
            &format!("directory = \"/c\"\nkey = \"k\"\n[[certificate]]\nid = \"{ID}\"\ndirectory = \"/c\"\nkey = \"k\""),
            "/c is the directory of two",
        ),
        (
            &format!("directory = \"/c\"\nkey = \"k\"\n[[certificate]]\nid = \"{ID}\"\ndirectory = \"/d\"\nkey = \"k\""),
            "is there twice for the target",
        ),
        ("directory = \"/c\"\nkey = \"k\"\n[[certificate]]\nid = \"cert_1\"\ndirectory = \"/d\"\nkey = \"k\"", "id is no identifier"),
    ] {
        let error = format!("{:#}", parse(certificate).unwrap_err());
        assert!(error.contains(says), "{certificate}: {error}");
    }
    let empty = Config::parse("api_url = \"https://a.test\"", Some("zc_token".to_owned())).unwrap_err();
    assert!(format!("{empty:#}").contains("there is no certificate"));
    let no_token = Config::parse("api_url = \"https://a.test\"", None).unwrap_err();
    assert!(format!("{no_token:#}").contains("token_file"));
}

#[test]
fn a_token_that_everybody_may_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "zc_token\n").unwrap();
    let text = format!(
        "api_url = \"https://a.test\"\ntoken_file = \"{}\"\n[[certificate]]\nid = \"{ID}\"\ndirectory = \"/c\"\nkey = \"k\"",
        file.display()
    );
    let is_open = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::parse(&text, None).unwrap().token_is_open()
    };
    assert!(is_open(0o644));
    assert!(!is_open(0o600));
    let config = Config::parse(&text, None).unwrap();
    assert_eq!(*config.token.0, "zc_token");
    assert!(!format!("{config:?}").contains("zc_token"));
}
