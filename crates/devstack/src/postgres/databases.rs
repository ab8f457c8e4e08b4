//! Databases and roles of the private `PostgreSQL`.

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::Client;

use super::{OWNER_ROLE, Postgres};

impl Postgres {
    /// Creates [`OWNER_ROLE`] (LOGIN, CREATEROLE) where it is missing, with this stack's password.
    pub async fn ensure_owner_role(&self) -> Result<()> {
        let admin = self.connect_as_admin("postgres").await?;
        ensure_role(&admin, OWNER_ROLE, "LOGIN CREATEROLE", &self.owner_password).await
    }

    /// Creates `role` where it is missing, and gives it `password`, in the form that the server is told to ask for ([`super::CONNECTS_OFTEN`]).
    pub(crate) async fn ensure_role_that_connects_often(&self, role: &str, password: &str) -> Result<()> {
        let admin = self.connect_as_admin("postgres").await?;
        admin.batch_execute("SET password_encryption = 'md5'").await?;
        ensure_role(&admin, role, "LOGIN", password).await
    }

    /// Creates an empty database owned by [`OWNER_ROLE`].
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.create(name, "template0", OWNER_ROLE).await
    }

    /// Creates an empty database owned by `owner`, unless there is one of that name. True when it was created.
    pub(crate) async fn ensure_database(&self, name: &str, owner: &str) -> Result<bool> {
        if self.has_database(name).await? {
            return Ok(false);
        }
        self.create(name, "template0", owner).await?;
        Ok(true)
    }

    /// Copies `template` (to which nobody may be connected) into a new database owned by [`OWNER_ROLE`].
    pub async fn create_database_from_template(&self, name: &str, template: &str) -> Result<()> {
        self.create(name, template, OWNER_ROLE).await
    }

    /// Drops a database, disconnecting whoever uses it. Fine when there is none.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let admin = self.connect_as_admin("postgres").await?;
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name)?);
        admin.batch_execute(&statement).await.with_context(|| format!("cannot drop database {name}"))
    }

    /// Whether there is a database of this name.
    pub async fn has_database(&self, name: &str) -> Result<bool> {
        let admin = self.connect_as_admin("postgres").await?;
        Ok(admin.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await?.is_some())
    }

    /// Makes `draft` the template `name`: nobody can connect to it any more, so it can be copied at any moment.
    pub(crate) async fn publish_template(&self, draft: &str, name: &str) -> Result<()> {
        let (draft, name) = (identifier(draft)?, identifier(name)?);
        let admin = self.connect_as_admin("postgres").await?;
        admin.batch_execute(&format!("ALTER DATABASE {draft} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")).await?;
        admin.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {name}")).await?;
        Ok(())
    }

    async fn create(&self, name: &str, template: &str, owner: &str) -> Result<()> {
        let admin = self.connect_as_admin("postgres").await?;
        let (name, template, owner) = (identifier(name)?, identifier(template)?, identifier(owner)?);
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}");
        admin.batch_execute(&statement).await.with_context(|| format!("cannot create database {name}"))
    }
}

async fn ensure_role(admin: &Client, role: &str, attributes: &str, password: &str) -> Result<()> {
    let verb = if admin.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).await?.is_some() { "ALTER" } else { "CREATE" };
    ensure!(password.bytes().all(|byte| byte.is_ascii_alphanumeric()), "a password of the stack is letters and digits");
    let statement = format!("{verb} ROLE {} {attributes} PASSWORD '{password}'", identifier(role)?);
    admin.batch_execute(&statement).await.with_context(|| format!("cannot set up role {role}"))
}

/// Names stand in statements as they are, where no parameter can: so only such as need no quoting.
fn identifier(name: &str) -> Result<&str> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    ensure!(
        plain && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= 63,
        "{name:?} is not a plain database or role name"
    );
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn only_plain_names_go_into_statements() {
        assert!(identifier("zonecert_owner").is_ok());
        for bad in ["", "Upper", "1st", "a-b", "a\"; DROP", &"x".repeat(64)] {
            assert!(identifier(bad).is_err(), "{bad:?}");
        }
    }
}
