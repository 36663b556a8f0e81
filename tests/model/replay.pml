/* Records, replay and epochs (docs/architecture.md, "The ordering rule and its proof").
 *
 * Two threads make up to OPS operations in all, each in one of two slots and on one or both of two lines, which it locks. A
 * power failure may come between any two steps, also in the middle of replay; after replay the operations go on in the next
 * epoch. Up to CRASHES failures.
 *
 * The medium: what a thread flushed is certain once the same thread has fenced. Of a line any version between the certain one
 * and the one last stored may have arrived; of a record that was not fenced nothing, all, or something that is not valid.
 *
 * Claimed: replay finds no gap in a chain of versions; after it each line has the last version that was durable, and an
 * operation is on all of its lines or on none. `upto` is what counts: the version of each line in the last operation that was
 * durable, or whose record arrived whole although it was not fenced yet.
 *
 * Planted mistakes, each of which has to be found: ONE_AREA (a slot has one area), NO_REFLUSH (the effects of another thread
 * are not flushed again), EARLY_EPOCH (the next epoch begins before the effects of replay are certain). */

#ifndef OPS
#define OPS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define AREA(slot, sequence) ((slot) * 2 + (sequence) % 2)

byte stored[2], certain[2], upto[2];  /* versions of the lines: in the caches, surely on the medium, that count */
byte flushed[4];                      /* thread * 2 + line: version that it flushed and has not fenced */
byte area_epoch[4], area_version[8];  /* records: 0 is not valid; version of each line, 0 if it is not named */
byte sequence[2], last_thread[2];     /* of slots; thread + 1 */
byte epoch = 1, operations, crashes;
bit slot_taken[2], line_taken[2];
byte writing[2];                      /* of threads: area that is written, without a fence; 4 is none */
byte new_version[4];                  /* of it: thread * 2 + line */
bit failed;                           /* the power is off */
byte alive;                           /* threads */

inline flush(thread, line) { flushed[thread * 2 + line] = stored[line] }
inline fence(thread) {
  d_step {
    if :: flushed[thread * 2] > certain[0] -> certain[0] = flushed[thread * 2] :: else fi;
    if :: flushed[thread * 2 + 1] > certain[1] -> certain[1] = flushed[thread * 2 + 1] :: else fi
  }
}

/* `names`: bit 0 the first line, bit 1 the second. Between these steps the power may fail. */
inline write_record() {
  d_step {
    if :: names & 1 -> line_taken[0] = 1 :: else fi;
    if :: names & 2 -> line_taken[1] = 1 :: else fi;
    slot_taken[slot] = 1;
#ifndef NO_REFLUSH
    if
    :: last_thread[slot] != me + 1 ->
       if :: area_version[AREA(slot, sequence[slot]) * 2] != 0 -> flush(me, 0) :: else fi;
       if :: area_version[AREA(slot, sequence[slot]) * 2 + 1] != 0 -> flush(me, 1) :: else fi
    :: else
    fi;
#endif
    last_thread[slot] = me + 1;
#ifdef ONE_AREA
    place = slot * 2;
#else
    place = AREA(slot, sequence[slot] + 1);
#endif
    writing[me] = place;
    new_version[me * 2] = ((names & 1) -> stored[0] + 1 : 0);
    new_version[me * 2 + 1] = ((names & 2) -> stored[1] + 1 : 0)
  }
}
inline record_is_durable(thread) {
  area_epoch[writing[thread]] = epoch;
  area_version[writing[thread] * 2] = new_version[thread * 2];
  area_version[writing[thread] * 2 + 1] = new_version[thread * 2 + 1];
  if :: new_version[thread * 2] != 0 -> upto[0] = new_version[thread * 2] :: else fi;
  if :: new_version[thread * 2 + 1] != 0 -> upto[1] = new_version[thread * 2 + 1] :: else fi;
  writing[thread] = 4
}
inline fence_record() {
  d_step {
    fence(me);
    record_is_durable(me);
    sequence[slot] = sequence[slot] + 1
  }
}
inline apply(line) {
  d_step { stored[line] = stored[line] + 1; flush(me, line) }
}
inline give_back() {
  if :: names & 1 -> line_taken[0] = 0 :: else fi;
  if :: names & 2 -> line_taken[1] = 0 :: else fi;
  slot_taken[slot] = 0
}

proctype Thread(byte me) {
  byte slot, names, place;
  {
    do
    :: atomic {
         operations < OPS && !failed ->
         select(slot : 0 .. 1);
         select(names : 1 .. 3);
         if
         :: !slot_taken[slot] && !((names & 1) && line_taken[0]) && !((names & 2) && line_taken[1]) ->
            operations++;
            write_record()
         :: else -> slot = 0; names = 0; goto next
         fi
       };
       fence_record();
       if :: names & 1 -> apply(0) :: else fi;
       if :: names & 2 -> apply(1) :: else fi;
       d_step { give_back(); slot = 0; names = 0; place = 0 };
next:  skip
    :: operations >= OPS -> break
    od
  } unless { failed };
  alive--
}

/* What arrived of a line. */
inline arrive(line) {
  do
  :: stored[line] > certain[line] -> stored[line] = stored[line] - 1
  :: break
  od;
  certain[line] = stored[line]
}

/* What arrived of a record that was not fenced. */
inline record_arrives(thread) {
  if
  :: writing[thread] != 4 ->
     if
     :: area_epoch[writing[thread]] = 0 /* torn */
     :: record_is_durable(thread)       /* whole */
     :: skip                            /* nothing of it */
     fi
  :: else
  fi;
  writing[thread] = 4
}

/* Applies every record whose turn it is. */
inline replay_line(place, line) {
  if
  :: area_epoch[place] == epoch && area_version[(place) * 2 + line] == stored[line] + 1 -> stored[line] = stored[line] + 1; progress_made = 1
  :: else
  fi
}
inline no_gap(place, line) {
  assert(!(area_epoch[place] == epoch && area_version[(place) * 2 + line] > stored[line]))
}

proctype Power() {
  byte place;
  bit progress_made;
end:
  do
  :: crashes < CRASHES ->
     /* All threads die; what is on the medium is drawn. */
     atomic {
       crashes++;
       failed = 1;
       record_arrives(0);
       record_arrives(1);
       arrive(0);
       arrive(1)
     };
     alive == 0;
again:
     progress_made = 0;
     d_step {
       for (place : 0 .. 3) { replay_line(place, 0); replay_line(place, 1) };
       place = 0
     };
     if
     :: progress_made -> goto again
     :: !progress_made && crashes < CRASHES -> atomic { crashes++; arrive(0); arrive(1) }; goto again /* fails during replay */
     :: !progress_made
     fi;
     d_step {
       for (place : 0 .. 3) { no_gap(place, 0); no_gap(place, 1) };
       place = 0;
       assert(stored[0] == upto[0] && stored[1] == upto[1])
     };
#ifndef EARLY_EPOCH
     d_step { certain[0] = stored[0]; certain[1] = stored[1] };
#endif
     epoch++;
#ifdef EARLY_EPOCH
     if
     :: crashes < CRASHES -> atomic { crashes++; arrive(0); arrive(1) }; goto again
     :: else
     fi;
#endif
     /* The machine comes up again. */
     d_step {
       flushed[0] = 0; flushed[1] = 0; flushed[2] = 0; flushed[3] = 0;
       slot_taken[0] = 0; slot_taken[1] = 0; line_taken[0] = 0; line_taken[1] = 0;
       failed = 0
     };
     alive++;
     run Thread(0)
  :: break
  od
}

init {
  atomic {
    writing[0] = 4;
    writing[1] = 4;
    alive = 2;
    run Thread(0);
    run Thread(1);
    run Power()
  }
}
