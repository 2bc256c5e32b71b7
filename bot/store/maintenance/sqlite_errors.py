"""What a SQLite file's trouble means for the operator, in words: what happened, and what to do about it."""

RESTORE = "Stop the bot and restore a backup with `zoetrope db restore FILE`"

DAMAGED = f"is damaged. {RESTORE}; without one, save what is readable with `sqlite3 <file> .recover`."

_GOES_ON = "nothing that was accepted is lost, and the bot goes on by itself."

_ADVICE = {
    "not a database": "is not a SQLite database, or its beginning is damaged. Name another file in DATABASE_URL, "
    f"or move this one away. If it was the bot's: {RESTORE[0].lower()}{RESTORE[1:]}.",
    "malformed": DAMAGED,
    "locked": "was held by another program for {busy_s:g} seconds. Close what has it open, and try again.",
    "disk is full": f"can't grow: the disk is full. Make room; {_GOES_ON}",
    "disk I/O": "can't be read or written: the disk is full, gone or broken (`disk I/O error`). Make room, or "
    f"mend it; {_GOES_ON}",
    "readonly": "can't be written: the file, its folder or the disk is read-only for this user. Give this user "
    f"the right to write there; {_GOES_ON}",
}


def explanation(place: str, said: str, *, busy_s: float) -> str:
    """What `said`, an error of SQLite's, means. place: the database. busy_s: how long a lock was waited for."""
    for sign, advice in _ADVICE.items():
        if sign in said:
            return f"{place} {advice.format(busy_s=busy_s)}"
    return f"{place} can't be used: {said}. Check its rights, and that the disk has room."
