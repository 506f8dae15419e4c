//! Money that is never lost: accounts that send each other amounts.
//!
//! A transfer is two turns of two entities, and a machine may stop between them. What makes it safe is that an entity's
//! state and its outgoing messages are one record on disk, and that a message takes effect once:
//!
//! ```text
//!   transfer ──► alice ── receive ──► bob     alice: balance - 5, in flight + 5; bob: balance + 5
//!                alice ◄── settle ─── bob     alice: in flight - 5
//!            or  alice ◄── refund ─── bob     he refused; alice: in flight - 5, balance + 5
//! ```
//! There is always room for a refund, because an account counts what it has in flight as if it still had it, and closes
//! only when nothing is in flight. Once all messages are delivered, the balances add up to what was deposited less what
//! was withdrawn.
//!
//! ```text
//! entia deploy account.wasm --durable
//! entia call account/alice deposit '{"amount": 9}'
//! entia call account/alice transfer '{"to": "bob", "amount": 5}'
//! ```

use std::fmt;

use entia_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// What survives between calls. `Default` is an account that nobody has used before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
    /// What was sent to other accounts that have yet to answer.
    in_flight: u64,
    closed: bool,
}

/// An account with whole units of money. Deploy it with `--durable`.
#[entity]
impl Account {
    /// Adds money, and returns the balance.
    pub fn deposit(&mut self, amount: u64) -> Result<u64, Refusal> {
        self.check_room(amount)?;
        self.balance += amount;
        Ok(self.balance)
    }

    /// Takes money out, and returns the balance.
    pub fn withdraw(&mut self, amount: u64) -> Result<u64, Refusal> {
        self.balance = self.less(amount)?;
        Ok(self.balance)
    }

    /// What can be taken out.
    pub fn balance(&self) -> u64 {
        self.balance
    }

    /// What is on its way to other accounts and may come back.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Sends money to the account of that key, and returns the balance. What the other refuses comes back by itself.
    pub fn transfer(&mut self, ctx: &mut Context, to: String, amount: u64) -> Result<u64, Refusal> {
        let left = self.less(amount)?;
        if to == ctx.me().key() {
            return Err(Refusal::ToItself);
        }
        // By this account's own kind, under whatever name it was deployed.
        let other = AccountRef::at(EntityId::new(ctx.me().kind(), to));
        other.send().receive(amount).map_err(Refusal::NotSent)?;
        self.balance = left;
        self.in_flight += amount;
        Ok(left)
    }

    /// Closes the account for good. It has to be empty.
    pub fn close(&mut self) -> Result<(), Refusal> {
        let Self {
            balance, in_flight, ..
        } = *self;
        if balance > 0 || in_flight > 0 {
            return Err(Refusal::NotEmpty { balance, in_flight });
        }
        self.closed = true;
        Ok(())
    }

    /// For accounts: takes the money of a transfer, or sends it back.
    pub fn receive(&mut self, ctx: &mut Context, amount: u64) -> Result<(), Refusal> {
        let sender = calling_account(ctx)?;
        let answered = match self.deposit(amount) {
            Ok(_) => sender.send().settle(amount),
            Err(_) => sender.send().refund(amount),
        };
        // A rejection would be the end of the message and of the money. A panic undoes the turn, and the platform
        // delivers the message again.
        answered.expect("a transfer is taken when it can be answered");
        Ok(())
    }

    /// For accounts: the money has arrived.
    pub fn settle(&mut self, ctx: &mut Context, amount: u64) -> Result<(), Refusal> {
        calling_account(ctx)?;
        let left = self.in_flight.checked_sub(amount);
        self.in_flight = left.expect("others answer what was sent to them, once");
        Ok(())
    }

    /// For accounts: the money comes back.
    pub fn refund(&mut self, ctx: &mut Context, amount: u64) -> Result<(), Refusal> {
        self.settle(ctx, amount)?;
        self.balance += amount;
        Ok(())
    }
}

/// Helpers, which nobody can call from outside.
impl Account {
    /// The balance without the amount.
    fn less(&self, amount: u64) -> Result<u64, Refusal> {
        self.check_open(amount)?;
        let missing = amount.saturating_sub(self.balance);
        let left = self.balance.checked_sub(amount);
        left.ok_or(Refusal::Overdraft { missing })
    }

    /// Keeps room for what may come back.
    fn check_room(&self, amount: u64) -> Result<(), Refusal> {
        self.check_open(amount)?;
        let left = u64::MAX - self.balance - self.in_flight;
        match amount <= left {
            true => Ok(()),
            false => Err(Refusal::Full { left }),
        }
    }

    fn check_open(&self, amount: u64) -> Result<(), Refusal> {
        match (self.closed, amount) {
            (true, _) => Err(Refusal::Closed),
            (false, 0) => Err(Refusal::NoAmount),
            (false, _) => Ok(()),
        }
    }
}

/// Money on its way is moved by the code of accounts only.
fn calling_account(ctx: &Context) -> Result<AccountRef, Refusal> {
    match ctx.caller() {
        Caller::Entity(id) if id.kind() == ctx.me().kind() => Ok(AccountRef::at(id.clone())),
        _ => Err(Refusal::NotAnAccount),
    }
}

/// Why an account refuses.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Refusal {
    /// The amount is 0.
    NoAmount,
    /// There is less money than that.
    Overdraft {
        /// How much is missing.
        missing: u64,
    },
    /// The balance would be greater than the greatest number.
    Full {
        /// What can still be added.
        left: u64,
    },
    /// The account was closed.
    Closed,
    /// An account with money is not closed.
    NotEmpty {
        /// What can be taken out.
        balance: u64,
        /// What may come back.
        in_flight: u64,
    },
    /// A transfer goes to another account.
    ToItself,
    /// Only accounts call this method.
    NotAnAccount,
    /// The transfer could not be sent.
    NotSent(EffectError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAmount => f.write_str("an amount is at least 1"),
            Self::Overdraft { missing } => write!(f, "{missing} missing"),
            Self::Full { left } => write!(f, "the account is full: {left} can still be added"),
            Self::Closed => f.write_str("the account is closed"),
            Self::NotEmpty { balance, in_flight } => write!(
                f,
                "the account has {balance}, and {in_flight} may come back: withdraw or transfer it first"
            ),
            Self::ToItself => f.write_str("the money is in that account already"),
            Self::NotAnAccount => f.write_str("only other accounts call this: use `transfer`"),
            Self::NotSent(error) => write!(f, "the transfer was not sent: {error}"),
        }
    }
}
