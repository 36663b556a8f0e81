/* Slots, stripes, commit and repair (docs/architecture.md, "Lines, records and the one commit", "SIGKILL", "Readers").
 *
 * WRITERS processes each make one operation on two lines under two stripes, in a slot that they take from SLOTS. Up to DEATHS
 * of them are killed, each between any two stores. Who waits for a lock or a slot of a dead one repairs it, and may
 * die of that, too. A reader looks at both lines without a lock, in either order.
 *
 * Claimed: the operations of those who live end (no invalid end state); no lock, slot or claim is left behind; each
 * operation that became visible is there whole, and no other; a reader sees no line in the middle of a change and, of an
 * operation, never the later line new and then the earlier one old.
 *
 * A line is two words and a trailer; an operation sets all to the version after the one it finds. Left out: power failure
 * (tests/crash explores that on the real thing) and the reordering that x86 does not do.
 *
 * Planted mistakes, each of which has to be found: PHASE_LAST (a reader asks for the phase after the sequence),
 * EARLY_RELEASE (repair frees stripes before it applies), NO_VOID (repair completes what was only planned), NO_TAKEOVER (nobody
 * takes over from a dead repairer), SEQUENCE_LATE (the commit is visible before the sequences are odd). check.sh has the
 * sizes that are searched whole. */

#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef DEATHS
#define DEATHS 2
#endif

#define IDLE 0
#define PLANNING 1
#define APPLYING 2

byte lock[2], sequence[2];            /* stripes: slot + 1, counter */
byte first[2], second[2], trailer[2]; /* lines */
byte owner[SLOTS], phase[SLOTS], record[SLOTS], area[SLOTS * 2]; /* record: sequence of the slot; area: version, 0 void */
bit held[SLOTS * 2];
byte claim[WRITERS];
bit dead[WRITERS + 1];
byte deaths, committed, ended;

inline store_line(line, version) {
  first[line] = version;
  second[line] = version;
  trailer[line] = version
}

inline step_sequences() {
  sequence[0] = sequence[0] + 1;
  sequence[1] = sequence[1] + 1
}

inline free_stripe(s, line) {
  if
  :: held[s * 2 + line] && lock[line] == s + 1 ->
     if
     :: sequence[line] % 2 == 1 -> sequence[line] = sequence[line] + 1
     :: else
     fi;
     lock[line] = 0
  :: else
  fi;
  held[s * 2 + line] = 0
}

inline apply_if_older(s, line) {
  if
  :: trailer[line] < area[s * 2 + record[s] % 2] -> store_line(line, area[s * 2 + record[s] % 2])
  :: else
  fi
}

inline repair_slot(s, who) {
  if
  :: owner[s] == who + 1 ->
#ifdef EARLY_RELEASE
     free_stripe(s, 0);
     free_stripe(s, 1);
#endif
     if
#ifdef NO_VOID
     :: phase[s] != IDLE ->
#else
     :: phase[s] == APPLYING ->
#endif
        apply_if_older(s, 0);
        apply_if_older(s, 1)
     :: else ->
        area[s * 2] = 0;
        area[s * 2 + 1] = 0
     fi;
     free_stripe(s, 0);
     free_stripe(s, 1);
     phase[s] = IDLE;
     owner[s] = 0
  :: else
  fi
}

/* Nothing if somebody alive is at it already. */
inline repair(who) {
  mine = 0;
  atomic {
    if
#ifdef NO_TAKEOVER
    :: dead[who] && claim[who] == 0 -> claim[who] = me + 1; mine = 1
#else
    :: dead[who] && (claim[who] == 0 || dead[claim[who] - 1]) -> claim[who] = me + 1; mine = 1
#endif
    :: else
    fi
  };
  if
  :: mine ->
     repair_slot(0, who);
#if SLOTS > 1
     repair_slot(1, who);
#endif
     claim[who] = 0
  :: else
  fi
}

#define NEEDS_REPAIR(who) (dead[who] && (claim[who] == 0 || dead[claim[who] - 1]))

inline take_slot() {
  do
  :: atomic { owner[0] == 0 -> owner[0] = me + 1; mine_slot = 0 }; break
#if SLOTS > 1
  :: atomic { owner[1] == 0 -> owner[1] = me + 1; mine_slot = 1 }; break
  :: atomic { owner[0] != 0 && owner[1] != 0 && dead[owner[0] - 1] -> victim = owner[0] - 1 }; repair(victim)
  :: atomic { owner[0] != 0 && owner[1] != 0 && dead[owner[1] - 1] -> victim = owner[1] - 1 }; repair(victim)
#else
  :: atomic { owner[0] != 0 && dead[owner[0] - 1] -> victim = owner[0] - 1 }; repair(victim)
#endif
  od
}

inline take_lock(line) {
  held[mine_slot * 2 + line] = 1;
  do
  :: atomic { lock[line] == 0 -> lock[line] = mine_slot + 1 }; break
  :: atomic { lock[line] != 0 && owner[lock[line] - 1] != 0 && dead[owner[lock[line] - 1] - 1] ->
              victim = owner[lock[line] - 1] - 1 };
     repair(victim)
  od
}

inline commit() {
  version = trailer[0] + 1;
  assert(trailer[0] == trailer[1]);
  area[mine_slot * 2 + (record[mine_slot] + 1) % 2] = 0; /* half written */
  area[mine_slot * 2 + (record[mine_slot] + 1) % 2] = version;
  record[mine_slot] = record[mine_slot] + 1;
#ifndef SEQUENCE_LATE
  step_sequences();
#endif
  atomic { phase[mine_slot] = APPLYING; committed++ };
#ifdef SEQUENCE_LATE
  step_sequences();
#endif
  store_line(0, version);
  store_line(1, version);
  step_sequences();
  phase[mine_slot] = PLANNING
}

proctype Writer(byte me) {
  byte mine_slot, version, victim;
  bit mine;
  {
    take_slot();
    phase[mine_slot] = PLANNING;
    take_lock(0);
    take_lock(1);
    commit();
    lock[0] = 0;
    held[mine_slot * 2] = 0;
    lock[1] = 0;
    held[mine_slot * 2 + 1] = 0;
    phase[mine_slot] = IDLE;
    owner[mine_slot] = 0
  } unless { dead[me] };
  ended++
}

proctype Death() {
  byte i;
end:
  do
  :: deaths < DEATHS -> select(i : 0 .. WRITERS - 1);
     atomic { if :: !dead[i] -> dead[i] = 1; deaths++ :: else fi }
  :: break
  od
}

proctype Reader(bit order) {
  byte before, holder, overlay, one, two, seen, last, turn, line;
  bit pending;
  for (turn : 0 .. 1) {
    line = (turn + order) % 2;
again:
    before = sequence[line];
    overlay = 0;
    pending = 0;
    if
    :: before % 2 == 1 ->
       holder = lock[line];
       if
       :: holder == 0 -> goto again
       :: holder != 0 && phase[holder - 1] == APPLYING ->
          seen = record[holder - 1];
          overlay = area[(holder - 1) * 2 + seen % 2]
       :: else -> pending = 1
       fi;
       if
       :: sequence[line] != before -> goto again
       :: else
       fi
    :: else
    fi;
    one = first[line];
    two = second[line];
#ifndef PHASE_LAST
    if
    :: pending && phase[holder - 1] == APPLYING -> goto again
    :: else
    fi;
#endif
    if
    :: sequence[line] != before -> goto again
    :: else
    fi;
#ifdef PHASE_LAST
    if
    :: pending && phase[holder - 1] == APPLYING -> goto again
    :: else
    fi;
#endif
    if
    :: overlay != 0 -> one = overlay; two = overlay
    :: else
    fi;
    assert(one == two);
    assert(turn == 0 || one >= last);
    last = one
  }
}

/* When everybody who lives is done, who comes next finds the dead and leaves nothing of them. */
proctype Next(byte me) {
  byte victim;
  bit mine;
  ended == WRITERS;
  for (victim : 0 .. WRITERS - 1) { repair(victim) }
  atomic {
    assert(lock[0] == 0 && lock[1] == 0);
    assert(owner[0] == 0 && owner[SLOTS - 1] == 0);
    assert(sequence[0] % 2 == 0 && sequence[1] % 2 == 0);
    assert(trailer[0] == committed && trailer[1] == committed);
    assert(first[0] == committed && second[0] == committed && first[1] == committed && second[1] == committed)
  }
}

init {
  byte i;
  atomic {
    for (i : 0 .. WRITERS - 1) { run Writer(i) }
    run Death();
    run Next(WRITERS);
#ifdef READER
    run Reader(READER)
#endif
  }
}
