"""What a finalization trains and concludes."""
