-- Who asked for a rotation's next step, which need not be who began it.

ALTER TABLE rotation ADD COLUMN requested_by text;
