/* How an inode ends (docs/architecture.md, "Open files"): opens, closes, the removal of its last link, repair.
 *
 * USERS, one or two, open and close the inode, the second by its name or, as through /proc/self/fd/N, by what the first has open; a remover takes its
 * last link away. Up to DEATHS of them and of a first undertaker are killed, each between any two stores; a second undertaker comes when
 * all are done (the first only with UNDERTAKER). With STOPS one of them stops for ever instead.
 *
 * Claimed: the inode is freed once, and not while somebody has it or a handle on it; when all is over and it has no link, it is freed, and no
 * use, note or lock is left; who opens or closes waits for nobody (no invalid end state: only the remover may wait for the stripe).
 *
 * A store is seen by all before the thread's next load: where that matters the code has a full barrier between them. The uses are looked
 * through one by one. A commit is one step, as readers see it (slots.pml); the record behind it is left out.
 *
 * Planted mistakes, each of which has to be found: NO_DENIAL (an open lets a record free the inode), ONE_LOOK_OF_REMOVER, ONE_LOOK_OF_CLOSER,
 * ONE_LOOK_OF_OPENER (who leaves the inode to somebody, or goes, does not look again), USE_FIRST (a close takes the use away before the
 * handle), NO_GENERATION (who goes on freeing for a dead one does not ask whether it is that inode still), NOTE_LATE (a remover that is
 * killed while it frees has not noted it). */

#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef USERS
#define USERS 2
#endif

#define REMOVER 2
#define FIRST 3 /* undertaker, mortal */
#define LAST 4
#define ALL 5

#define IDLE 0
#define ENDING 1
#define DENIED 2
#define APPLYING 3

#define CLAIMED 1
#define USED 2
#define BEGINS 1
#define ENDS 2

byte use[2];                                      /* words among the uses */
bit handle[2];
bit links = 1, freeing, freed;                    /* the inode */
byte stripe;                                      /* who holds it, + 1 */
byte phase[ALL], log[ALL], target[ALL];           /* slots; log: what the list in it does to the use of `target` */
bit committed[ALL], left[ALL];                    /* of the log; Slot::left_ino */
byte pending[ALL];                                /* Process::pending: 1 noted, 2 kPendingLeft */
byte claim[ALL];
bit dead[ALL], buried[ALL], stopped[ALL], over[ALL];
byte deaths, stops, ended;

#define HAS(user) (use[user] == USED || handle[user] || (committed[user] && log[user] == BEGINS))

inline look() {
  used = 0;
  if :: use[0] != 0 -> used = 1 :: else fi;
  if :: use[1] != 0 -> used = 1 :: else fi
}
inline look_and_note(who) {
  look();
  if :: !used && !links -> pending[who] = 1 :: else fi
}

inline free_it() {
  assert(!freed && !HAS(0) && !HAS(1));
  freed = 1
}

inline take_use_away(user) {
#ifdef USE_FIRST
  use[user] = 0;
  handle[user] = 0
#else
  handle[user] = 0;
  use[user] = 0
#endif
}

/* repair_slots: again and again does no harm. */
inline mend(who) {
  if
  :: log[who] == BEGINS && !committed[who] && use[target[who]] == CLAIMED ->
     left[who] = 1;
     use[target[who]] = 0
  :: committed[who] && log[who] == BEGINS -> use[target[who]] = USED; handle[target[who]] = 1
  :: committed[who] && log[who] == ENDS -> left[who] = 1; take_use_away(target[who])
  :: else
  fi;
  d_step { committed[who] = 0; log[who] = 0 };
  if
  :: left[who] -> look(); if :: (!used || freeing) && !links -> pending[who] = 1 :: else fi; left[who] = 0
  :: else
  fi;
  phase[who] = IDLE;
  if :: stripe == who + 1 -> stripe = 0 :: else fi
}

#define FREE_CLAIM(who) (dead[who] && (claim[who] == 0 || dead[claim[who] - 1]))

/* Of the pending word of `who`. */
inline free_orphan(who, of_dead) {
  do
  :: atomic { stripe == 0 -> stripe = me + 1 };
     phase[me] = ENDING;
     look();
     mine = 0;
     if
     :: links || freed || (used && !freeing) || (freeing && !of_dead) -> d_step { phase[me] = IDLE; stripe = 0; pending[who] = 0 }; break
     :: else ->
        if
        :: freeing -> mine = 1; phase[me] = IDLE
        :: else ->
           atomic { if :: phase[me] == ENDING -> phase[me] = APPLYING; freeing = 1; mine = 1 :: else fi };
           phase[me] = IDLE
        fi;
        stripe = 0;
        if
        :: mine ->
#ifdef NO_GENERATION
           free_it();
#else
           atomic { if :: !freed -> free_it() :: else fi };
#endif
           pending[who] = 0;
           break
        :: else /* denied */
        fi
     fi
  :: atomic { stripe != 0 && FREE_CLAIM(stripe - 1) -> victim = stripe - 1; claim[victim] = me + 1 };
     mend(victim);
     claim[victim] = 0
  :: atomic { stripe != 0 && !FREE_CLAIM(stripe - 1) -> pending[who] = 2; break } /* stopped, or at it */
  od
}

inline drop(user) {
  d_step { log[me] = ENDS; target[me] = user; committed[me] = 1; left[me] = 1 };
  take_use_away(user);
  d_step { committed[me] = 0; log[me] = 0 };
#ifndef ONE_LOOK_OF_CLOSER
  look_and_note(me);
#endif
  left[me] = 0;
  if :: pending[me] != 0 -> free_orphan(me, 0) :: else fi
}

proctype User(byte me) {
  byte holder, victim;
  bit used, mine, by_name = 1;
  {
    if
    :: skip
    :: me == 1 && use[0] == USED -> by_name = 0
    fi;
    d_step { log[me] = BEGINS; target[me] = me; use[me] = CLAIMED };
#ifndef NO_DENIAL
    holder = stripe;
    if
    :: holder != 0 && phase[holder - 1] == ENDING ->
       atomic { if :: phase[holder - 1] == ENDING -> phase[holder - 1] = DENIED :: else fi }
    :: else
    fi;
#endif
    if
    :: freed || freeing || (by_name && !links) ->
       left[me] = 1;
       d_step { use[me] = 0; log[me] = 0 };
#ifndef ONE_LOOK_OF_OPENER
       look_and_note(me);
#endif
       left[me] = 0;
       if :: pending[me] != 0 -> free_orphan(me, 0) :: else fi
    :: else ->
       committed[me] = 1;
       use[me] = USED;
       assert(!freed && !freeing);
       handle[me] = 1;
       d_step { committed[me] = 0; log[me] = 0 };
       assert(!freed && !freeing);
       drop(me)
    fi
  } unless { dead[me] || stopped[me] };
  if
  :: stopped[me] -> end_stopped: false
  :: else
  fi;
  d_step { over[me] = 1; ended++; used = 0; mine = 0; holder = 0; victim = 0; by_name = 0 }
}

inline visible(next_freeing, next_freed) {
  atomic {
    if
    :: phase[me] == ENDING ->
       phase[me] = APPLYING;
       links = 0;
       freeing = next_freeing;
       if :: next_freed -> free_it() :: else fi;
       mine = 1
    :: else
    fi
  }
}

proctype Remover(byte me) {
  byte victim;
  bit used, mine, large;
  {
    if :: large = 0 :: large = 1 fi; /* for the record that takes the link away */
    do
    :: !mine ->
end_lock:
       do
       :: atomic { stripe == 0 -> stripe = me + 1 }; break
       :: atomic { stripe != 0 && FREE_CLAIM(stripe - 1) -> victim = stripe - 1; claim[victim] = me + 1 };
          mend(victim);
          claim[victim] = 0
       od;
       phase[me] = ENDING;
       look();
       if
       :: used ->
          phase[me] = IDLE;
          left[me] = 1;
          d_step { phase[me] = APPLYING; links = 0 };
          mine = 1;
#ifndef ONE_LOOK_OF_REMOVER
          look_and_note(me);
#endif
          left[me] = 0
       :: !used && !large -> visible(0, 1)
       :: !used && large ->
#ifndef NOTE_LATE
          left[me] = 1;
#endif
          visible(1, 0);
          if :: mine -> pending[me] = 1 :: else fi;
          left[me] = 0
       fi;
       phase[me] = IDLE;
       stripe = 0
    :: mine -> break
    od;
    if
    :: pending[me] != 0 && large && freeing && !used -> /* its own to free */
       atomic { if :: !freed -> free_it() :: else fi };
       pending[me] = 0
    :: pending[me] != 0 && !(large && freeing && !used) -> free_orphan(me, 0)
    :: else
    fi
  } unless { dead[me] || stopped[me] };
  if
  :: stopped[me] -> end_stopped: false
  :: else
  fi;
  d_step { over[me] = 1; ended++; used = 0; mine = 0; victim = 0; large = 0 }
}

inline bury(who) {
  mine_claim = 0;
  atomic {
    if
    :: !buried[who] && FREE_CLAIM(who) -> before = claim[who]; claim[who] = me + 1; mine_claim = 1
    :: else
    fi
  };
  if
  :: mine_claim ->
     if :: before != 0 -> mend(before - 1); before = 0 :: else fi;
     mend(who);
     if :: pending[who] != 0 -> free_orphan(who, 1) :: else fi;
     if :: who < 2 && handle[who] -> drop(who) :: else fi;
     if :: pending[who] == 0 -> buried[who] = 1 :: else fi;
     claim[who] = 0
  :: else
  fi
}

proctype First(byte me) {
  byte i, victim, before;
  bit used, mine, mine_claim;
  { for (i : 0 .. 2) { bury(i) } } unless { dead[me] || stopped[me] };
  if
  :: stopped[me] -> end_stopped: false
  :: else
  fi;
  d_step { over[me] = 1; ended++; used = 0; mine = 0; victim = 0; mine_claim = 0; before = 0; i = 0 }
}

/* Who comes last finds the dead, and what the living could not free at once, which they try again at their next open. */
proctype Last(byte me) {
  byte i, victim, before;
  bit used, mine, mine_claim;
end_all:
  ended == 4;
  bury(FIRST);
  for (i : 0 .. 2) { bury(i) }
  for (i : 0 .. 4) { if :: pending[i] == 2 && !dead[i] -> free_orphan(i, 0) :: else fi }
  atomic {
    assert(links || freed);
    assert(!freed || !links);
    assert(use[0] == 0 && use[1] == 0 && !handle[0] && !handle[1] && stripe == 0);
    for (i : 0 .. 4) { assert(!left[i] && pending[i] == 0) }
  }
}

#define KILL(i) atomic { deaths < DEATHS && !over[i] && !dead[i] && !stopped[i] -> dead[i] = 1; deaths++ }
#define STOP(i) atomic { stops < STOPS && !over[i] && !dead[i] && !stopped[i] -> stopped[i] = 1; stops++ }

proctype Fate() {
end:
  do
  :: KILL(0)
  :: KILL(1)
  :: KILL(REMOVER)
  :: STOP(0)
  :: STOP(1)
  :: STOP(REMOVER)
#ifdef UNDERTAKER
  :: KILL(FIRST)
#endif
  :: ended == ALL - 1 -> break
  od
}

init {
  atomic {
    run User(0);
#if USERS > 1
    run User(1);
#else
    ended++;
    over[1] = 1;
#endif
    run Remover(REMOVER);
#ifdef UNDERTAKER
    run First(FIRST);
#else
    ended++;
    over[FIRST] = 1;
#endif
    run Last(LAST);
    run Fate()
  }
}
