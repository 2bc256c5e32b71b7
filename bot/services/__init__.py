"""What members, a server's admins and the operator may ask of the bot, independent of Discord."""
