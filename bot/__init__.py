"""Zoetrope: turns a member's picture and prompt into a short video on Discord."""
