"""A small world for swaps: two chains, one honest trader who does its duties, and everybody else against it.

Time moves in steps much shorter than the margin, the trader looks at the chains at least every second step, and
blocks come at least every second step. Within that, anything goes: contracts that are wrong or never come, messages
lost, doubled or swapped, a dead or lying server, crashes, reorgs below the agreed depth, and conflicting spends of
which the worse one is mined.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

from twinlock.protocol.swap import Duty, Party, Swap, Task, Terms, Verdict, agree, apply, duties
from twinlock.protocol.swap import events as ev

MADE_S = 1_000_000
HOUR = 3600
SECRET = bytes(range(32))
SECRET_HASH = sha256(SECRET).digest()
DEPTH = 2


def terms(**changes: int) -> Terms:
    return agree(
        bytes(32),
        quantity=10**8,
        rate=25 * 10**6,
        maker_sells=True,
        made_ms=MADE_S * 1000,
        base_depth=changes.get("base_depth", DEPTH),
        quote_depth=changes.get("quote_depth", DEPTH),
    )


@dataclass
class Spend:
    """A transaction that spends a contract: with the secret, or as a refund."""

    by: Party
    secret: bytes
    height: int | None = None


@dataclass
class Chain:
    """One leg's chain. `funded_at` and a spend's `height` are None in the mempool."""

    lag: int
    height: int = 100
    median_time: int = MADE_S - 7200
    announced: bool = False
    in_mempool: bool = False
    funded_at: int | None = None
    doomed: bool = False
    settled: bool = False
    spends: list[Spend] = field(default_factory=list)

    @property
    def funded(self) -> bool:
        return self.in_mempool or self.funded_at is not None

    @property
    def mined_spend(self) -> Spend | None:
        return next((spend for spend in self.spends if spend.height is not None), None)

    def depth(self, height: int | None) -> int:
        return 0 if height is None else self.height - height + 1

    def mine(self, now_s: int, favour: Party, lock: int) -> None:
        """One block with everything in the mempool; of conflicting spends, the one of `favour`."""
        self.height += 1
        self.median_time = max(self.median_time, now_s - self.lag)
        if self.in_mempool:
            self.in_mempool, self.funded_at = False, self.height
        self.settled = self.settled or self.depth(self.funded_at) >= DEPTH
        if self.funded_at is not None and self.mined_spend is None and self.spends:
            valid = [spend for spend in self.spends if spend.secret or self.median_time > lock]
            valid.sort(key=lambda spend: spend.by is not favour)
            if valid:
                valid[0].height = self.height
                self.spends = [valid[0]]

    def reorg(self, blocks: int) -> None:
        """The last blocks are replaced by as many without our transactions, which return to the mempool."""
        for spend in self.spends:
            if spend.height is not None and spend.height > self.height - blocks:
                spend.height = None
        if self.funded_at is not None and self.funded_at > self.height - blocks:
            self.funded_at, self.in_mempool = None, True


class World:
    """One match of an honest `party` in a hostile world; `rng` makes every choice of everybody else."""

    def __init__(self, party: Party, rng: Random) -> None:
        self.party, self.rng = party, rng
        self.now_s = MADE_S
        lag = rng.choice([0, 600, HOUR])
        self.chains = (Chain(lag), Chain(lag))
        self.swap = Swap(terms=terms())
        self.log: list[ev.Event] = []
        if rng.random() < 0.8:
            self.feel(ev.AddressKnown(party, "mine", MADE_S * 1000))
            self.feel(ev.AddressKnown(party.other, "theirs", MADE_S * 1000))
        self.theirs_sound = rng.random() < 0.85
        self.enemy_knows = party is Party.TAKER
        # Some counterparties wait until the last moment, some readers of chains only look when it is their duty.
        self.late = MADE_S + rng.choice([0, rng.randrange(9 * HOUR), rng.randrange(7 * HOUR, 8 * HOUR)])
        self.lazy = rng.random() < 0.5
        # In ambush, a counterparty refunds only when that would cross a redemption of the trader.
        self.ambush = rng.random() < 0.5
        # Until then nobody takes the trader's contract, or the maker's redemption.
        self.mute_until = MADE_S + rng.choice([0, 0, rng.randrange(24 * HOUR)])
        self.stuck_until = MADE_S + (rng.choice([0, 0, rng.randrange(24 * HOUR)]) if party is Party.MAKER else 0)
        # How eager the others are; some never do a thing.
        self.mood = {
            name: rng.choice([0.0, rng.random() ** 2, 1.0])
            for name in ("fund", "redeem", "revoke", "lose", "reorg", "doom", "drop")
        }
        self.done: set[Duty] = set()
        self.crashed = False

    # What the honest trader does ----------------------------------------------------------------------

    def feel(self, event: ev.Event) -> None:
        self.log.append(event)
        self.swap = apply(self.swap, event)
        if self.rng.random() < 0.1:
            assert apply(self.swap, event) == self.swap, f"{event} is not idempotent"

    def look(self) -> None:
        """See both chains as they are now, and sometimes crash and remember only the log."""
        for leg in Party:
            chain = self.chains[leg]
            self.feel(ev.ChainTime(leg, chain.median_time))
            spend = chain.mined_spend or (chain.spends[0] if chain.spends else None)
            if spend is not None and chain.funded:
                read = self.party is Party.MAKER or not self.lazy
                secret = spend.secret if read else b""
                self.feel(ev.Spent(leg, chain.depth(spend.height), secret, refund=read and not spend.secret))
            elif chain.funded:
                self.feel(ev.Seen(leg, chain.depth(chain.funded_at), self.now_s * 1000))
            else:
                self.feel(ev.Vanished(leg, chain.doomed))
        if self.rng.random() < 0.05:
            self.crash()

    def crash(self) -> None:
        swap = Swap(terms=self.swap.terms)
        for event in self.log:
            swap = apply(swap, event)
        assert swap == self.swap

    def owed(self) -> frozenset[Task]:
        return duties(self.swap, self.party, self.now_s * 1000)

    def act(self) -> None:
        """Do what is owed, and sometimes crash in the middle of it; not twice in a row."""
        for _ in range(3):
            for duty, leg in sorted(self.owed(), key=lambda task: task.duty.name):
                self.crashed = not self.crashed and self.rng.random() < 0.1
                if self.crashed:
                    return
                self.done.add(duty)
                self.do(duty, leg)

    def do(self, duty: Duty, leg: Party | None) -> None:
        own, theirs = self.chains[self.party], self.chains[self.party.other]
        if duty is Duty.MAKE_CONTRACT:
            secret_hash = SECRET_HASH if self.party is Party.MAKER else b""
            self.feel(ev.ContractMade(self.party, b"own coin", b"own contract", secret_hash))
            if self.party is Party.MAKER:
                self.feel(ev.SecretLearned(SECRET))
            own.in_mempool = self.rng.random() < 0.5 and self.now_s > self.mute_until and not own.funded
        elif duty is Duty.BROADCAST_CONTRACT:
            heard = own.funded_at is None and self.now_s > self.mute_until
            own.in_mempool = own.in_mempool or heard
        elif duty is Duty.REBROADCAST_THEIRS:
            theirs.in_mempool = theirs.in_mempool or (theirs.funded_at is None and not theirs.doomed)
        elif duty is Duty.AUDIT:
            verdict = Verdict.SOUND if self.theirs_sound else Verdict.REFUSED
            self.feel(ev.Audited(self.party.other, b"their coin", verdict, SECRET_HASH))
        elif duty is Duty.REDEEM:
            assert self.swap.secret == SECRET
            if self.now_s < self.stuck_until:
                return
            self.spend(theirs, Spend(self.party, SECRET))
            self.enemy_knows = True
            self.feel(ev.RedeemSent(self.party.other))
        elif duty is Duty.REFUND:
            assert own.median_time > self.swap.terms.locks[self.party]
            self.spend(own, Spend(self.party, b""))
        elif duty is Duty.SEARCH:
            self.feel(ev.SecretLearned(own.spends[0].secret))
        elif duty is Duty.GIVE_UP:
            self.feel(ev.Revoked())

    def spend(self, chain: Chain, spend: Spend) -> None:
        mine = any(known.by is spend.by and known.secret == spend.secret for known in chain.spends)
        if spend.by is self.party and spend.secret and not self.theirs_sound:
            return  # it pays somebody else
        if chain.funded and not mine and chain.mined_spend is None:
            chain.spends.append(spend)

    # What everybody else does ---------------------------------------------------------------------------

    def enemy(self) -> None:
        rng, mood, enemy = self.rng, self.mood, self.party.other
        own, theirs = self.chains[self.party], self.chains[enemy]
        if rng.random() < 0.5:
            self.whisper()
        may_fund = self.now_s > self.late and (enemy is Party.MAKER or self.swap.legs[Party.MAKER].known)
        if not theirs.announced and may_fund and rng.random() < mood["fund"]:
            theirs.announced = theirs.in_mempool = True
        if theirs.funded and not theirs.settled and rng.random() < mood["doom"] * 0.3:
            theirs.spends.clear()
            theirs.in_mempool, theirs.funded_at, theirs.doomed = False, None, rng.random() < 0.5
        self.enemy_knows = self.enemy_knows or any(spend.secret for chain in self.chains for spend in chain.spends)
        if self.enemy_knows and own.funded and rng.random() < mood["redeem"]:
            self.spend(own, Spend(enemy, SECRET))
        racing = any(spend.by is self.party for spend in theirs.spends)
        unlocked = theirs.funded and theirs.median_time > self.swap.terms.locks[enemy]
        if unlocked and (racing or not self.ambush) and rng.random() < 0.8:
            self.spend(theirs, Spend(enemy, b""))
        for chain in self.chains:
            unmined = [spend for spend in chain.spends if spend.height is None]
            if unmined and rng.random() < mood["drop"] * 0.2:
                chain.spends.remove(rng.choice(unmined))

    def whisper(self) -> None:
        """Messages, in any order, doubled, or false."""
        rng, mood, now = self.rng, self.mood, self.now_s * 1000
        theirs = self.party.other
        choices: list[ev.Event] = [
            ev.AddressKnown(self.party, "mine", now),
            ev.AddressKnown(theirs, "theirs", now),
            ev.AddressKnown(theirs, "another", now),
            ev.SecretLearned(rng.randbytes(32)),
            ev.Acknowledged(rng.choice(list(Party)), rng.choice(list(ev.Step))),
            ev.Audited(theirs, b"no such coin", Verdict.SOUND, bytes(32)),
        ]
        if self.chains[theirs].announced:
            choices += [ev.Announced(theirs, b"their coin", b"their contract")] * 4
        if rng.random() < mood["revoke"] * 0.1:
            choices.append(ev.Revoked())
        if rng.random() < mood["lose"] * 0.2:
            choices.append(ev.ServerLost() if rng.random() < 0.5 else ev.ServerFound())
        if self.enemy_knows and rng.random() < 0.1:
            choices.append(ev.SecretLearned(SECRET))
        self.feel(rng.choice(choices))

    # The course of time ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Until both locks are long past and nothing moves any more."""
        margin = self.swap.terms.margin_s
        end = self.swap.terms.locks[Party.MAKER] + 6 * HOUR
        asleep = [0, 0]
        while self.now_s < end:
            self.now_s += self.rng.randint(1, margin // 5)
            self.enemy()
            if self.rng.random() < 0.5 or asleep[0]:
                asleep[0] = 0
                self.look()
                self.act()
            else:
                asleep[0] += 1
            self.blocks(asleep)

    def blocks(self, asleep: list[int]) -> None:
        mine = self.rng.random() < 0.5 or bool(asleep[1])
        asleep[1] = 0 if mine else asleep[1] + 1
        if not mine:
            return
        for leg, chain in zip(Party, self.chains, strict=True):
            if self.rng.random() < self.mood["reorg"] * 0.2:
                chain.reorg(self.rng.randint(1, DEPTH - 1))
            chain.mine(self.now_s, self.party.other, self.swap.terms.locks[leg])

    @property
    def has_a_coin(self) -> bool:
        """Whether the honest trader has its own coin, or the other one, for good."""
        own, theirs = self.chains[self.party], self.chains[self.party.other]
        kept = not own.funded
        refunded = own.mined_spend is not None and own.mined_spend.by is self.party
        paid = theirs.mined_spend is not None and theirs.mined_spend.by is self.party
        return kept or refunded or paid
